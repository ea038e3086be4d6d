//! The versions of each line's model, and which of them are used.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Answers, Store, query::answers};
use crate::Result;

/// A version of a line's model, as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct VersionRow {
    pub(crate) number: u32,
    pub(crate) model: String,
    pub(crate) made: String,
    pub(crate) parent: Option<u32>,
    pub(crate) created: i64,
    pub(crate) state: String,
    pub(crate) note: Option<String>,
    pub(crate) trial: Option<String>,
}

/// What the store knows of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineRow {
    /// The version in use.
    pub(crate) version: u32,
    /// The one that was in use before it.
    pub(crate) previous: Option<u32>,
    /// When its shift began, in milliseconds since 1970.
    pub(crate) shift: i64,
    /// The number that the first inspection of the shift has.
    pub(crate) first: i64,
    /// The version of the run that the last start named. The one in use need not be made of it.
    pub(crate) opened: u32,
}

impl Store {
    /// A line's versions, and when its shift began; `None` for a line that is new.
    pub(crate) fn line(&self, name: &str) -> Result<Option<LineRow>> {
        self.read(|connection| {
            let sql = "SELECT version, previous, shift, first, opened FROM line WHERE name = ?1";
            connection
                .query_row(sql, [name], |row| {
                    Ok(LineRow {
                        version: row.get(0)?,
                        previous: row.get(1)?,
                        shift: row.get(2)?,
                        first: row.get(3)?,
                        opened: row.get(4)?,
                    })
                })
                .optional()
        })
    }

    /// The versions of a line's model, the oldest first.
    pub(crate) fn versions(&self, line: &str) -> Result<Vec<VersionRow>> {
        self.read(|connection| {
            let sql = "SELECT number, model, made, parent, created, state, note, trial FROM version WHERE line = ?1 ORDER BY number";
            let mut statement = connection.prepare_cached(sql)?;
            statement
                .query_map([line], |row| {
                    Ok(VersionRow {
                        number: row.get(0)?,
                        model: row.get(1)?,
                        made: row.get(2)?,
                        parent: row.get(3)?,
                        created: row.get(4)?,
                        state: row.get(5)?,
                        note: row.get(6)?,
                        trial: row.get(7)?,
                    })
                })?
                .collect()
        })
    }

    /// What was being made when the service ended, was not made.
    pub(crate) fn give_up_versions(&self) -> Result<()> {
        self.change(|connection| {
            let sql = "UPDATE version SET state = 'failed', note = 'the service ended while it was made' WHERE state = 'making'";
            connection.execute(sql, [])
        })?;
        Ok(())
    }

    /// Keeps a version, or what has become of it.
    pub(crate) fn keep_version(&self, line: &str, version: VersionRow) -> Result<()> {
        let line = line.to_owned();
        self.change(move |connection| {
            connection.execute(
                // When it was used is written by those who use it, and stays.
                "INSERT INTO version (line, number, model, made, parent, created, state, note, trial) VALUES (?1, ?2, ?3, ?4, ?5, ?6, \
                 ?7, ?8, ?9) ON CONFLICT DO UPDATE SET model = ?3, made = ?4, parent = ?5, created = ?6, state = ?7, note = ?8, trial = ?9",
                params![
                    line,
                    version.number,
                    version.model,
                    version.made,
                    version.parent,
                    version.created,
                    version.state,
                    version.note,
                    version.trial
                ],
            )
        })?;
        Ok(())
    }

    /// The names of all lines that it knows anything of, except those that are being made.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        self.read(|connection| {
            let mut names = Vec::new();
            for sql in [
                "SELECT name FROM line UNION SELECT line FROM version",
                "SELECT DISTINCT line FROM inspection",
            ] {
                let mut statement = connection.prepare_cached(sql)?;
                for name in statement.query_map([], |row| row.get(0))? {
                    names.push(name?);
                }
            }
            Ok(names)
        })
    }

    /// The versions of a line that were in use, the last one first.
    pub(crate) fn used(&self, line: &str) -> Result<Vec<u32>> {
        self.read(|connection| {
            let sql = "SELECT number FROM version WHERE line = ?1 AND used IS NOT NULL ORDER BY used DESC";
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_map([line], |row| row.get(0))?.collect()
        })
    }

    /// Keeps which versions a line uses, and when its shift began.
    pub(crate) fn keep_line(&self, name: &str, row: LineRow) -> Result<()> {
        let name = name.to_owned();
        self.change(move |connection| {
            connection.execute(
                "INSERT OR REPLACE INTO line (name, version, previous, shift, first, opened) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![name, row.version, row.previous, row.shift, row.first, row.opened],
            )?;
            note_use(connection, &name, row.version)
        })
    }

    /// Changes the version in use of a line that is there. One that was deleted meanwhile stays so. `then` hears on the thread that
    /// writes what people have answered of this version, before anybody hears of a later label.
    pub(crate) fn use_version(
        &self,
        name: &str,
        version: u32,
        before: u32,
        then: impl FnOnce(Answers) + Send + 'static,
    ) -> Result<()> {
        let name = name.to_owned();
        self.inner.writer.change(
            move |connection| {
                connection.execute(
                    "UPDATE line SET version = ?2, previous = ?3 WHERE name = ?1",
                    params![name, version, before],
                )?;
                note_use(connection, &name, version)?;
                answers(connection, &name)
            },
            then,
        )
    }

    /// Begins a shift of a line that is there, at a time in milliseconds since 1970. `then` is called on the thread that writes, after
    /// what it did for every inspection from before the shift, and before what it does for the first one of the shift.
    pub(crate) fn begin_shift(&self, name: &str, at: i64, then: impl FnOnce() + Send + 'static) -> Result<()> {
        let name = name.to_owned();
        self.inner.writer.change(
            move |connection| {
                let sql = "UPDATE line SET shift = ?2, first = (SELECT coalesce(max(id), 0) + 1 FROM inspection) WHERE name = ?1";
                connection.execute(sql, params![name, at])
            },
            |_| then(),
        )
    }
}

/// From now on this version is the one that was used last.
fn note_use(connection: &Connection, line: &str, version: u32) -> rusqlite::Result<()> {
    let sql = "UPDATE version SET used = (SELECT coalesce(max(used), 0) + 1 FROM version WHERE line = ?1) WHERE line = ?1 AND number = ?2";
    connection.execute(sql, params![line, version])?;
    Ok(())
}
