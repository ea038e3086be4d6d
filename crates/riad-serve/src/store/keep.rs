//! How long pictures are kept. Rows stay, because an auditor asks for them, and they are small.

use std::time::{Duration, SystemTime};

use rusqlite::params;

use super::{Store, record::to_millis};
use crate::Result;

/// How many pictures are deleted before the next look, so that others are written between.
const AT_ONCE: usize = 200;

/// The time and the number of bytes for which pictures are kept. By default all pictures are kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keep {
    /// Pictures that are older are deleted, unless they have a label.
    pub time: Option<Duration>,
    /// If all pictures together are larger than this, some are deleted: the oldest good ones first, then defects,
    /// labelled ones last.
    pub bytes: Option<u64>,
}

/// What goes first: a label is a person's work, and a defect is rare.
const RANK: &str = "CASE WHEN label IS NOT NULL THEN 2 WHEN verdict = 'good' THEN 0 ELSE 1 END";

pub(super) fn tidy(store: &Store, keep: &Keep, ends: impl Fn() -> bool) -> Result<usize> {
    let mut deleted = 0;
    if let Some(time) = keep.time {
        let before = to_millis(SystemTime::now().checked_sub(time).unwrap_or(SystemTime::UNIX_EPOCH));
        while !ends() {
            let old = store.read(|connection| {
                let sql = "SELECT id, picture, bytes FROM inspection WHERE picture IS NOT NULL AND label IS NULL AND received < ?1 LIMIT ?2";
                let mut statement = connection.prepare_cached(sql)?;
                statement
                    .query_map(params![before, AT_ONCE as i64], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                    .collect::<rusqlite::Result<Vec<(i64, String, i64)>>>()
            })?;
            if old.is_empty() {
                break;
            }
            deleted += delete(store, old)?;
        }
    }
    if let Some(most) = keep.bytes {
        let sum = "SELECT coalesce(sum(bytes), 0) FROM inspection WHERE picture IS NOT NULL";
        let held: i64 = store.read(|connection| connection.query_row(sum, [], |row| row.get(0)))?;
        let mut beyond = held.saturating_sub(i64::try_from(most).unwrap_or(i64::MAX));
        while beyond > 0 && !ends() {
            let first = store.read(|connection| {
                let sql = format!(
                    "SELECT id, picture, bytes FROM inspection WHERE picture IS NOT NULL ORDER BY {RANK}, id LIMIT {AT_ONCE}"
                );
                let mut statement = connection.prepare_cached(&sql)?;
                statement
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                    .collect::<rusqlite::Result<Vec<(i64, String, i64)>>>()
            })?;
            let mut doomed = Vec::new();
            for picture in first {
                if beyond <= 0 {
                    break;
                }
                beyond -= picture.2.max(1);
                doomed.push(picture);
            }
            if doomed.is_empty() {
                break;
            }
            deleted += delete(store, doomed)?;
        }
    }
    Ok(deleted)
}

/// The row forgets its picture first: it never names a file that is gone. A kill between the two is put in order at the next start.
fn delete(store: &Store, doomed: Vec<(i64, String, i64)>) -> Result<usize> {
    let ids: Vec<i64> = doomed.iter().map(|(id, _, _)| *id).collect();
    store.change(move |connection| {
        let mut statement = connection.prepare_cached("UPDATE inspection SET picture = NULL WHERE id = ?1")?;
        for id in ids {
            statement.execute([id])?;
        }
        Ok(())
    })?;
    for (_, name, _) in &doomed {
        store.pictures().remove(name);
    }
    Ok(doomed.len())
}
