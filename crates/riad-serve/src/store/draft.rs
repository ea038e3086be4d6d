//! Lines that are being made, and their good pictures.

use riad::Size;
use riad_data::Brightest;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Store;
use crate::Result;

/// A line that is being made, or was made here.
#[derive(Clone, Debug)]
pub(crate) struct DraftRow {
    pub(crate) name: String,
    /// Milliseconds since 1970.
    pub(crate) created: i64,
    pub(crate) state: String,
    pub(crate) note: Option<String>,
    /// How it is trained, as JSON.
    pub(crate) plan: Option<String>,
    /// What its model finds, as JSON.
    pub(crate) found: Option<String>,
    /// Where defects are looked for, as a PNG.
    pub(crate) region: Option<Vec<u8>>,
    /// The sample value that is white, if it is not the largest of the files' range.
    pub(crate) white_level: Option<u16>,
}

/// A good picture that a line is made of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GoodRow {
    /// Its number in this store.
    pub(crate) number: i64,
    /// What its sender calls it.
    pub(crate) name: String,
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Its brightest sample, if samples are integers of more than 8 bits.
    pub(crate) brightest: Option<Brightest>,
}

impl GoodRow {
    pub(crate) fn size(&self) -> Size {
        Size::new(self.height, self.width)
    }
}

const COLUMNS: &str = "number, name, sha256, bytes, width, height, brightest, full";

fn good(row: &Row<'_>) -> rusqlite::Result<GoodRow> {
    let size = |at| row.get::<_, i64>(at).map(|value| value.unsigned_abs());
    Ok(GoodRow {
        number: row.get(0)?,
        name: row.get(1)?,
        sha256: row.get(2)?,
        bytes: size(3)?,
        width: usize::try_from(size(4)?).unwrap_or_default(),
        height: usize::try_from(size(5)?).unwrap_or_default(),
        brightest: match (row.get(6)?, row.get(7)?) {
            (Some(sample), Some(full)) => Some(Brightest { sample, full }),
            _ => None,
        },
    })
}

impl Store {
    /// All lines that are being made or were made here, the oldest first.
    pub(crate) fn drafts(&self) -> Result<Vec<DraftRow>> {
        self.read(|connection| {
            let sql =
                "SELECT name, created, state, note, plan, found, region, white_level FROM draft ORDER BY created, name";
            let mut statement = connection.prepare_cached(sql)?;
            statement
                .query_map([], |row| {
                    Ok(DraftRow {
                        name: row.get(0)?,
                        created: row.get(1)?,
                        state: row.get(2)?,
                        note: row.get(3)?,
                        plan: row.get(4)?,
                        found: row.get(5)?,
                        region: row.get(6)?,
                        white_level: row.get(7)?,
                    })
                })?
                .collect()
        })
    }

    /// Keeps a line that is being made.
    pub(crate) fn keep_draft(&self, draft: DraftRow) -> Result<()> {
        self.change(move |connection| {
            let sql = "INSERT OR REPLACE INTO draft (name, created, state, note, plan, found, region, white_level) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let DraftRow {
                name,
                created,
                state,
                note,
                plan,
                found,
                region,
                white_level,
            } = draft;
            connection.execute(
                sql,
                params![name, created, state, note, plan, found, region, white_level],
            )
        })?;
        Ok(())
    }

    /// How many pictures a line has judged.
    pub(crate) fn judged(&self, line: &str) -> Result<u64> {
        self.read(|connection| judged(connection, line))
    }

    /// Forgets a line that was made here, with its versions, unless it has judged a picture: then how many, and nothing is changed.
    pub(crate) fn forget_line(&self, name: &str) -> Result<u64> {
        let name = name.to_owned();
        self.change(move |connection| {
            let judged = judged(connection, &name)?;
            if judged == 0 {
                for sql in [
                    "INSERT OR IGNORE INTO forgotten (sink, line) SELECT name, ?1 FROM sink WHERE name LIKE 'mqtt:%'",
                    "DELETE FROM draft WHERE name = ?1",
                    "DELETE FROM good WHERE line = ?1",
                    "DELETE FROM version WHERE line = ?1",
                    "DELETE FROM line WHERE name = ?1",
                ] {
                    connection.execute(sql, [&name])?;
                }
            }
            Ok(judged)
        })
    }

    /// The good pictures of a line, in the order in which they came.
    pub(crate) fn good(&self, line: &str) -> Result<Vec<GoodRow>> {
        self.good_after(line, 0, u32::MAX)
    }

    /// So many of them after one.
    pub(crate) fn good_after(&self, line: &str, number: i64, limit: u32) -> Result<Vec<GoodRow>> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM good WHERE line = ?1 AND number > ?2 ORDER BY number LIMIT ?3");
            let mut statement = connection.prepare_cached(&sql)?;
            statement.query_map(params![line, number, limit], good)?.collect()
        })
    }

    /// One of them.
    pub(crate) fn good_one(&self, line: &str, number: i64) -> Result<Option<GoodRow>> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM good WHERE line = ?1 AND number = ?2");
            connection
                .prepare_cached(&sql)?
                .query_row(params![line, number], good)
                .optional()
        })
    }

    /// Keeps one, without its number; one of the same content that is there already stays as it is. Which it is, and whether it is new.
    pub(crate) fn keep_good(&self, line: &str, picture: GoodRow) -> Result<(GoodRow, bool)> {
        let line = line.to_owned();
        self.change(move |connection| {
            let before = of_content(connection, &line, &picture.sha256)?;
            if let Some(before) = before {
                return Ok((before, false));
            }
            let size = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
            connection.execute(
                "INSERT INTO good (line, name, sha256, bytes, width, height, brightest, full) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    line,
                    picture.name,
                    picture.sha256,
                    i64::try_from(picture.bytes).unwrap_or(i64::MAX),
                    size(picture.width),
                    size(picture.height),
                    picture.brightest.map(|brightest| brightest.sample),
                    picture.brightest.map(|brightest| brightest.full)
                ],
            )?;
            let number = connection.last_insert_rowid();
            Ok((GoodRow { number, ..picture }, true))
        })
    }

    /// Forgets one.
    pub(crate) fn forget_good(&self, line: &str, number: i64) -> Result<()> {
        let line = line.to_owned();
        self.change(move |connection| {
            connection.execute(
                "DELETE FROM good WHERE line = ?1 AND number = ?2",
                params![line, number],
            )
        })?;
        Ok(())
    }
}

fn judged(connection: &Connection, line: &str) -> rusqlite::Result<u64> {
    let sql = "SELECT count(*) FROM inspection WHERE line = ?1";
    let judged = connection.query_row(sql, [line], |row| row.get::<_, i64>(0))?;
    Ok(judged.unsigned_abs())
}

fn of_content(connection: &Connection, line: &str, sha256: &str) -> rusqlite::Result<Option<GoodRow>> {
    let sql = format!("SELECT {COLUMNS} FROM good WHERE line = ?1 AND sha256 = ?2");
    connection
        .prepare_cached(&sql)?
        .query_row([line, sha256], good)
        .optional()
}

#[cfg(test)]
mod tests {
    use super::{super::LineRow, *};

    #[test]
    fn a_line_that_was_deleted_does_not_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let row = LineRow {
            version: 1,
            previous: None,
            shift: 5,
            first: 1,
            opened: 1,
        };
        store.keep_line("lid", row).unwrap();
        store.use_version("lid", 2, 1, |_| ()).unwrap();
        store.begin_shift("lid", 6, || ()).unwrap();
        let row = store.line("lid").unwrap().unwrap();
        assert_eq!((row.version, row.previous, row.shift), (2, Some(1), 6));
        assert_eq!(store.names().unwrap(), ["lid"]);
        assert_eq!(store.forget_line("lid").unwrap(), 0);
        // A shift that began meanwhile.
        store.begin_shift("lid", 7, || ()).unwrap();
        assert!(store.line("lid").unwrap().is_none() && store.names().unwrap().is_empty());
    }
}
