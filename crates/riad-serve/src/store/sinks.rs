//! The progress of each sink. The table of inspections is its queue: inspections stay, and a sink only keeps the last
//! one that it delivered.

use std::time::SystemTime;

use rusqlite::{OptionalExtension, params};

use super::Store;
use crate::Result;

/// How far a sink is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The last inspection that it got or that was given up.
    pub(crate) delivered: i64,
    /// How many were given up.
    pub(crate) dropped: u64,
}

impl Store {
    /// How far a sink is. One that is new begins behind the newest inspection: what came before it is none of its business.
    pub(crate) fn cursor(&self, sink: &str) -> Result<Cursor> {
        let sink = sink.to_owned();
        self.change(move |connection| {
            let sql = "INSERT OR IGNORE INTO sink (name, delivered) VALUES (?1, (SELECT coalesce(max(id), 0) FROM inspection))";
            connection.execute(sql, [&sink])?;
            let sql = "SELECT delivered, dropped FROM sink WHERE name = ?1";
            connection.query_row(sql, [&sink], |row| {
                let dropped: i64 = row.get(1)?;
                Ok(Cursor {
                    delivered: row.get(0)?,
                    dropped: dropped.unsigned_abs(),
                })
            })
        })
    }

    /// Keeps how far a sink is.
    pub(crate) fn keep_cursor(&self, sink: &str, cursor: Cursor) -> Result<()> {
        let sink = sink.to_owned();
        self.change(move |connection| {
            let sql = "UPDATE sink SET delivered = ?2, dropped = ?3 WHERE name = ?1";
            let dropped = i64::try_from(cursor.dropped).unwrap_or(i64::MAX);
            connection
                .prepare_cached(sql)?
                .execute(params![sink, cursor.delivered, dropped])
        })?;
        Ok(())
    }

    /// Lines that were deleted, and whose state this sink has to forget.
    pub(crate) fn forgotten(&self, sink: &str) -> Result<Vec<String>> {
        self.read(|connection| {
            let sql = "SELECT line FROM forgotten WHERE sink = ?1 ORDER BY line";
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_map([sink], |row| row.get(0))?.collect()
        })
    }

    /// A sink has forgotten the state of a line.
    pub(crate) fn has_forgotten(&self, sink: &str, line: &str) -> Result<()> {
        let (sink, line) = (sink.to_owned(), line.to_owned());
        self.change(move |connection| {
            let sql = "DELETE FROM forgotten WHERE sink = ?1 AND line = ?2";
            connection.prepare_cached(sql)?.execute([&sink, &line])
        })?;
        Ok(())
    }

    /// The names of lines that PLCs know, in the order of their places.
    pub(crate) fn places(&self) -> Result<Vec<String>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT line FROM place ORDER BY number")?;
            statement.query_map([], |row| row.get(0))?.collect()
        })
    }

    /// Keeps the places of lines. Those that have one keep it.
    pub(crate) fn keep_places(&self, lines: &[String]) -> Result<()> {
        let lines = lines.to_vec();
        self.change(move |connection| {
            for (number, line) in (0_i64..).zip(lines) {
                let sql = "INSERT OR IGNORE INTO place (number, line) VALUES (?1, ?2)";
                connection.prepare_cached(sql)?.execute(params![number, line])?;
            }
            Ok(())
        })
    }

    /// The number of the newest inspection; 0 if there is none.
    pub(crate) fn newest(&self) -> Result<i64> {
        self.read(|connection| {
            let sql = "SELECT coalesce(max(id), 0) FROM inspection";
            connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
        })
    }

    /// When the file of a picture from the watched folder was written, which its identity ends with.
    pub(crate) fn written(&self, id: i64) -> Result<Option<SystemTime>> {
        let identity: Option<String> = self.read(|connection| {
            let sql = "SELECT identity FROM inspection WHERE id = ?1 AND identity IS NOT NULL";
            let found = connection.prepare_cached(sql)?.query_row([id], |row| row.get(0));
            found.optional()
        })?;
        let time = identity.as_deref().and_then(|identity| identity.rsplit(' ').next());
        Ok(time.and_then(|time| humantime::parse_rfc3339(time).ok()))
    }

    /// How many inspections sinks get from behind one up to another.
    pub(crate) fn count_between(&self, after: i64, until: i64) -> Result<u64> {
        self.read(|connection| {
            let sql = "SELECT count(*) FROM inspection WHERE id > ?1 AND id <= ?2 AND source <> 'page'";
            let count: i64 = connection
                .prepare_cached(sql)?
                .query_row([after, until], |row| row.get(0))?;
            Ok(count.unsigned_abs())
        })
    }
}
