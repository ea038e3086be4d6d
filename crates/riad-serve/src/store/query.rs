//! Queries of the rows.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension, Row, ToSql, params, types::Type};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Store,
    record::{Inspection, Label, Links, Origin, Verdict, as_rfc3339, from_millis, to_millis},
    writer::{Key, Stored},
};
use crate::Result;

const COLUMNS: &str = "id, line, received, source, name, verdict, reason, score, p_value, threshold, rate, confidence, regions, width, \
                       height, model, version, riad_version, ms, audit, label, labelled, picture, bytes, pictures, regions_total, ran";

/// A person is asked about what was stopped and about what was drawn for an audit, until it has a label. What was only tried on the page
/// is nobody's question.
const UNANSWERED: &str = "label IS NULL AND source <> 'page' AND (verdict = 'defective' OR audit = 1)";

/// Which inspections are asked for.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Those with this verdict.
    pub(crate) verdict: Option<Verdict>,
    /// Those with this label: `good`, `defective`, `none` or `any`.
    pub(crate) label: Option<Labelled>,
    /// Those that were drawn for an audit.
    pub(crate) audit: Option<bool>,
    /// Those that a person is asked about.
    pub(crate) unanswered: Option<bool>,
    /// Those from this time on (RFC 3339).
    #[param(format = DateTime)]
    pub(crate) from: Option<String>,
    /// Those before this time (RFC 3339).
    #[param(format = DateTime)]
    pub(crate) to: Option<String>,
    /// Those with a smaller number, to page on.
    pub(crate) before: Option<i64>,
    /// How many at most, from 1 to 500: 50 by default.
    #[param(minimum = 1, maximum = 500)]
    pub(crate) limit: Option<u32>,
}

/// What a label is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Labelled {
    /// Labelled good.
    Good,
    /// Labelled defective.
    Defective,
    /// Without a label.
    None,
    /// With any label.
    Any,
}

/// A point of a chart.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Dot {
    /// The inspection's number.
    pub(crate) id: i64,
    /// When the picture was there.
    #[serde(serialize_with = "as_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) received: SystemTime,
    /// Its score.
    pub(crate) score: f32,
    /// The highest score that was called good then.
    pub(crate) threshold: Option<f32>,
    /// What the service said of it.
    pub(crate) verdict: Verdict,
    /// What a person said of it.
    pub(crate) label: Option<Label>,
}

impl Store {
    /// One inspection of a line.
    pub(crate) fn inspection(&self, line: &str, id: i64) -> Result<Option<Inspection>> {
        self.read(|connection| one(connection, line, id))
    }

    /// What was stored under a sender's key.
    pub(crate) fn of_key(&self, line: &str, key: &Key) -> Result<Option<Stored>> {
        self.read(|connection| of_sender(connection, line, Some(key), None))
    }

    /// Whether a file in the watched folder has its row.
    pub(crate) fn knows(&self, line: &str, identity: &str) -> Result<bool> {
        self.read(|connection| {
            let sql = "SELECT 1 FROM inspection WHERE line = ?1 AND identity = ?2";
            let found = connection
                .prepare_cached(sql)?
                .query_row([line, identity], |_| Ok(()))
                .optional()?;
            Ok(found.is_some())
        })
    }

    /// Inspections of a line, the newest first. `from` and `to` are milliseconds since 1970.
    pub(crate) fn inspections(
        &self,
        line: &str,
        filter: &Filter,
        from: Option<i64>,
        to: Option<i64>,
    ) -> Result<Vec<Inspection>> {
        let mut conditions = vec!["line = ?1".to_owned()];
        let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(line.to_owned())];
        let mut with = |condition: &str, value: Box<dyn ToSql>| {
            values.push(value);
            conditions.push(condition.replace('?', &format!("?{}", values.len())));
        };
        if let Some(verdict) = filter.verdict {
            with("verdict = ?", Box::new(verdict.name()));
        }
        if let Some(audit) = filter.audit {
            with("audit = ?", Box::new(audit));
        }
        if let Some(from) = from {
            with("received >= ?", Box::new(from));
        }
        if let Some(to) = to {
            with("received < ?", Box::new(to));
        }
        if let Some(before) = filter.before {
            with("id < ?", Box::new(before));
        }
        match filter.label {
            Some(Labelled::Good) => with("label = ?", Box::new("good")),
            Some(Labelled::Defective) => with("label = ?", Box::new("defective")),
            Some(Labelled::None) => conditions.push("label IS NULL".to_owned()),
            Some(Labelled::Any) => conditions.push("label IS NOT NULL".to_owned()),
            None => {}
        }
        match filter.unanswered {
            Some(true) => conditions.push(UNANSWERED.to_owned()),
            Some(false) => conditions.push(format!("NOT ({UNANSWERED})")),
            None => {}
        }
        let limit = filter.limit.unwrap_or(50).clamp(1, 500);
        let sql = format!(
            "SELECT {COLUMNS} FROM inspection WHERE {} ORDER BY id DESC LIMIT {limit}",
            conditions.join(" AND ")
        );
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let values = rusqlite::params_from_iter(values.iter().map(|value| value.as_ref()));
            statement.query_map(values, inspection)?.collect()
        })
    }

    /// Inspections of any line after one, the oldest first, without those that were only tried: what sinks get.
    pub(crate) fn after(&self, id: i64, limit: usize) -> Result<Vec<Inspection>> {
        self.read(|connection| {
            let sql =
                format!("SELECT {COLUMNS} FROM inspection WHERE id > ?1 AND source <> 'page' ORDER BY id LIMIT ?2");
            let mut statement = connection.prepare_cached(&sql)?;
            statement.query_map(params![id, limit as i64], inspection)?.collect()
        })
    }

    /// The newest inspection of a line that was not only tried.
    pub(crate) fn last(&self, line: &str) -> Result<Option<Inspection>> {
        self.read(|connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM inspection WHERE line = ?1 AND source <> 'page' ORDER BY id DESC LIMIT 1"
            );
            connection
                .prepare_cached(&sql)?
                .query_row([line], inspection)
                .optional()
        })
    }

    /// The last scores of a line, the oldest first.
    pub(crate) fn dots(&self, line: &str, limit: u32) -> Result<Vec<Dot>> {
        let mut dots = self.read(|connection| {
            let sql = "SELECT id, received, score, verdict, label, threshold FROM inspection WHERE line = ?1 AND source <> 'page' AND score IS NOT \
                       NULL ORDER BY id DESC LIMIT ?2";
            let mut statement = connection.prepare_cached(sql)?;
            statement
                .query_map(params![line, limit], |row| {
                    Ok(Dot {
                        id: row.get(0)?,
                        received: from_millis(row.get(1)?),
                        score: row.get::<_, f64>(2)? as f32,
                        verdict: named(row, 3, Verdict::named)?,
                        label: or_none(row, 4, Label::named)?,
                        threshold: row.get::<_, Option<f64>>(5)?.map(|threshold| threshold as f32),
                    })
                })?
                .collect::<rusqlite::Result<Vec<_>>>()
        })?;
        dots.reverse();
        Ok(dots)
    }

    /// The last scores of good pictures that a version judged, the oldest first.
    pub(crate) fn good_scores(&self, line: &str, version: u32, limit: u32) -> Result<Vec<f32>> {
        let mut scores = self.read(|connection| {
            let sql = "SELECT score FROM inspection WHERE line = ?1 AND verdict = 'good' AND version = ?2 AND source <> 'page' AND score IS \
                       NOT NULL ORDER BY id DESC LIMIT ?3";
            let mut statement = connection.prepare_cached(sql)?;
            statement
                .query_map(params![line, version, limit], |row| Ok(row.get::<_, f64>(0)? as f32))?
                .collect::<rusqlite::Result<Vec<_>>>()
        })?;
        scores.reverse();
        Ok(scores)
    }

    /// How many inspections of a line had each verdict from one on, in the order of [`Verdict::ALL`].
    pub(crate) fn counts(&self, line: &str, first: i64) -> Result<[u64; 4]> {
        self.read(|connection| {
            let sql = "SELECT verdict, count(*) FROM inspection WHERE line = ?1 AND id >= ?2 AND source <> 'page' GROUP BY verdict";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query(params![line, first])?;
            let mut counts = [0; 4];
            while let Some(row) = rows.next()? {
                let verdict = named(row, 0, Verdict::named)?;
                let count: i64 = row.get(1)?;
                if let Some(place) = Verdict::ALL.iter().position(|one| *one == verdict) {
                    counts[place] = count.unsigned_abs();
                }
            }
            Ok(counts)
        })
    }

    /// What people have answered of a line's inspections, as far as the version in use judged them.
    pub(crate) fn answers(&self, line: &str) -> Result<Answers> {
        self.read(|connection| answers(connection, line))
    }

    /// Gives an inspection a label, or takes it away; the inspection, if there is one. `then` hears of it on the thread that writes,
    /// with the answers that there were just then: those who hear of later changes there count on from them.
    pub(crate) fn label(
        &self,
        line: &str,
        id: i64,
        label: Option<Label>,
        at: i64,
        then: impl FnOnce(&Inspection, Answers) + Send + 'static,
    ) -> Result<Option<Inspection>> {
        let line = line.to_owned();
        self.inner.writer.change(
            move |connection| {
                connection.execute(
                    "UPDATE inspection SET label = ?1, labelled = ?2 WHERE line = ?3 AND id = ?4",
                    params![label.map(Label::name), label.map(|_| at), line, id],
                )?;
                let labelled = one(connection, &line, id)?;
                Ok((labelled, answers(connection, &line)?))
            },
            |(labelled, answers)| {
                if let Some(labelled) = &labelled {
                    then(labelled, answers);
                }
                labelled
            },
        )
    }
}

/// What was stored for a sender's key, or as a file in the watched folder.
pub(super) fn of_sender(
    connection: &Connection,
    line: &str,
    key: Option<&Key>,
    identity: Option<&str>,
) -> rusqlite::Result<Option<Stored>> {
    let sql = format!("SELECT {COLUMNS}, key_picture FROM inspection WHERE line = ?1 AND (key = ?2 OR identity = ?3)");
    connection
        .prepare_cached(&sql)?
        .query_row(params![line, key.map(|key| &key.text), identity], |row| {
            let (found, picture) = (inspection(row)?, row.get::<_, Option<String>>("key_picture")?);
            Ok(match key.is_some_and(|key| picture.as_ref() != Some(&key.picture)) {
                true => Stored::Other(found.id),
                false => Stored::Before(found),
            })
        })
        .optional()
}

/// What people have answered, and what they have not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answers {
    /// How many inspections a person is asked about.
    pub(crate) unanswered: u64,
    /// Of the pictures with an answer that the version in use judged: how many stopped ones people called good, and how many were
    /// stopped; and how many audited ones that passed people called defective, and how many passed.
    pub(crate) answered: [[u64; 2]; 2],
}

pub(super) fn answers(connection: &Connection, line: &str) -> rusqlite::Result<Answers> {
    let sql = format!("SELECT count(*) FROM inspection WHERE line = ?1 AND {UNANSWERED}");
    let unanswered: i64 = connection.prepare_cached(&sql)?.query_row([line], |row| row.get(0))?;
    let sql = "SELECT count(*) FILTER (WHERE verdict = 'defective' AND label = 'good'), count(*) FILTER (WHERE verdict = \
               'defective'), count(*) FILTER (WHERE verdict = 'good' AND audit = 1 AND label = 'defective'), count(*) FILTER \
               (WHERE verdict = 'good' AND audit = 1) FROM inspection WHERE line = ?1 AND label IS NOT NULL AND source <> 'page' AND version = \
               (SELECT version FROM line WHERE name = ?1)";
    let answered = connection.prepare_cached(sql)?.query_row([line], |row| {
        let count = |at| row.get::<_, i64>(at).map(i64::unsigned_abs);
        Ok([[count(0)?, count(1)?], [count(2)?, count(3)?]])
    })?;
    Ok(Answers {
        unanswered: unanswered.unsigned_abs(),
        answered,
    })
}

fn one(connection: &Connection, line: &str, id: i64) -> rusqlite::Result<Option<Inspection>> {
    let sql = format!("SELECT {COLUMNS} FROM inspection WHERE line = ?1 AND id = ?2");
    connection
        .prepare_cached(&sql)?
        .query_row(params![line, id], inspection)
        .optional()
}

fn inspection(row: &Row<'_>) -> rusqlite::Result<Inspection> {
    let size = |at| -> rusqlite::Result<Option<usize>> {
        let side: Option<i64> = row.get(at)?;
        Ok(side.and_then(|side| usize::try_from(side).ok()))
    };
    let (id, line): (i64, String) = (row.get("id")?, row.get("line")?);
    let regions: String = row.get("regions")?;
    let picture: Option<String> = row.get("picture")?;
    let bytes: i64 = row.get("bytes")?;
    Ok(Inspection {
        links: Links::of(&line, id),
        id,
        line,
        received: from_millis(row.get("received")?),
        ran: Duration::from_millis(row.get::<_, i64>("ran")?.unsigned_abs()),
        source: named(row, 3, Origin::named)?,
        name: row.get("name")?,
        verdict: named(row, 5, Verdict::named)?,
        reason: row.get("reason")?,
        score: row.get::<_, Option<f64>>("score")?.map(|score| score as f32),
        p_value: row.get("p_value")?,
        threshold: row
            .get::<_, Option<f64>>("threshold")?
            .map(|threshold| threshold as f32),
        rate: row.get("rate")?,
        confidence: row.get("confidence")?,
        regions: serde_json::from_str(&regions)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(12, Type::Text, Box::new(error)))?,
        regions_total: size("regions_total")?.unwrap_or_default(),
        width: size("width")?,
        height: size("height")?,
        pictures: size("pictures")?,
        model: row.get("model")?,
        version: row.get("version")?,
        riad_version: row.get("riad_version")?,
        ms: row.get("ms")?,
        audit: row.get("audit")?,
        label: or_none(row, 20, Label::named)?,
        labelled: row.get::<_, Option<i64>>("labelled")?.map(from_millis),
        kept: picture.is_some(),
        picture,
        bytes: bytes.unsigned_abs(),
    })
}

fn named<T>(row: &Row<'_>, at: usize, read: impl Fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    or_none(row, at, read)?.ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(at, Type::Text, "a name that this program does not know".into())
    })
}

fn or_none<T>(row: &Row<'_>, at: usize, read: impl Fn(&str) -> Option<T>) -> rusqlite::Result<Option<T>> {
    let name: Option<String> = row.get(at)?;
    Ok(name.as_deref().and_then(read))
}

/// Reads a time as a caller writes it: RFC 3339 with any offset, or without one for UTC.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    let text = text.to_ascii_uppercase();
    let (time, offset) = match humantime::parse_rfc3339_weak(&text) {
        Ok(time) => (time, 0),
        Err(_) => {
            let (time, offset) = text.split_at_checked(text.len().checked_sub("+00:00".len())?)?;
            (humantime::parse_rfc3339_weak(time).ok()?, offset_in_millis(offset)?)
        }
    };
    Some(to_millis(time) - offset)
}

/// How far a place's time is ahead of UTC, as `+01:00`. The `+` of an address that is not encoded is a space when it is read.
fn offset_in_millis(text: &str) -> Option<i64> {
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let number = |digits: &str, most: i64| {
        let is_number = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number: Option<i64> = digits.parse().ok();
        number.filter(|number| is_number && *number <= most)
    };
    let millis = (number(hours, 23)? * 60 + number(minutes, 59)?) * 60_000;
    match text.as_bytes()[0] {
        b'+' | b' ' => Some(millis),
        b'-' => Some(-millis),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex, mpsc},
        thread,
    };

    use super::{super::LineRow, *};

    const INSERT: &str = "INSERT INTO inspection (line, received, source, verdict, rate, regions, model, version, riad_version, ms, \
                          audit, bytes, regions_total, ran) VALUES ('lid', 0, 'http', 'defective', 0.05, '[]', '', 1, '', 0, 0, 0, 0, 0)";

    /// The first two are from RFC 3339, 5.8, which says what they are in UTC.
    #[test]
    fn times_have_any_offset() {
        let millis = |text| parse_time(text).unwrap_or_else(|| panic!("{text}"));
        for (text, same) in [
            ("1985-04-12T23:20:50.52Z", "1985-04-12T23:20:50.520Z"),
            ("1996-12-19T16:39:57-08:00", "1996-12-20T00:39:57Z"),
            ("2026-11-30t10:00:00z", "2026-11-30T10:00:00Z"),
            ("2026-11-30T10:00:00 05:30", "2026-11-30T04:30:00Z"),
            ("2026-11-30 10:00:00", "2026-11-30T10:00:00Z"),
            ("2026-11-30T10:00:00-00:00", "2026-11-30T10:00:00Z"),
        ] {
            assert_eq!(millis(text), millis(same), "{text}");
        }
        for wrong in [
            "",
            "now",
            "2026-11-30T10:00:00+24:00",
            "2026-11-30T10:00:00+1:00",
            "2026-11-30T10:00:00+01:60",
            "2026-11-30 10:00",
            "é+01:00",
        ] {
            assert_eq!(parse_time(wrong), None, "{wrong}");
        }
    }

    fn row(version: u32) -> LineRow {
        LineRow {
            version,
            previous: None,
            shift: 0,
            first: 1,
            opened: 1,
        }
    }

    #[test]
    fn answers_are_of_the_version_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.keep_line("lid", row(1)).unwrap();
        for id in 1..=3 {
            store.change(|connection| connection.execute(INSERT, [])).unwrap();
            store.label("lid", id, Some(Label::Good), 0, |_, _| ()).unwrap();
        }
        assert_eq!(store.answers("lid").unwrap().answered[0], [3, 3]);
        let (tell, told) = mpsc::channel();
        store
            .use_version("lid", 2, 1, move |answers| tell.send(answers).unwrap())
            .unwrap();
        // Nobody has answered anything that version 2 said.
        assert_eq!(told.recv().unwrap().answered, [[0; 2]; 2]);
        let relabelled = store.label("lid", 1, Some(Label::Good), 0, |_, answers| {
            assert_eq!(answers.answered, [[0; 2]; 2])
        });
        assert!(relabelled.unwrap().is_some());
    }

    /// A clock that is set back during a shift gives pictures times from before it.
    #[test]
    fn a_shift_counts_what_comes_after_it_began_whatever_the_clock_says() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.keep_line("lid", row(1)).unwrap();
        let insert = || store.change(|connection| connection.execute(INSERT, [])).unwrap();
        let counts = || {
            let row = store.line("lid").unwrap().unwrap();
            store.counts("lid", row.first).unwrap()
        };
        insert();
        insert();
        assert_eq!(counts(), [0, 2, 0, 0]);
        store.begin_shift("lid", 1_000_000, || ()).unwrap();
        assert_eq!(counts(), [0; 4]);
        insert();
        assert_eq!(
            (counts(), store.line("lid").unwrap().unwrap().shift),
            ([0, 1, 0, 0], 1_000_000)
        );
    }

    /// Whoever counts what comes, as a line does, and takes over what is counted at a label, is never off.
    #[test]
    fn labels_and_new_inspections_are_heard_of_in_their_order() {
        const EACH: i64 = 100;
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.keep_line("lid", row(1)).unwrap();
        for _ in 0..EACH {
            store.change(|connection| connection.execute(INSERT, [])).unwrap();
        }
        let live = Arc::new(Mutex::new(store.answers("lid").unwrap()));
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..EACH {
                    let live = live.clone();
                    let insert = |connection: &Connection| connection.execute(INSERT, []);
                    let note = move |_| live.lock().unwrap().unanswered += 1;
                    store.inner.writer.change(insert, note).unwrap();
                }
            });
            scope.spawn(|| {
                for id in 1..=EACH {
                    let live = live.clone();
                    let then = move |_: &Inspection, answers| *live.lock().unwrap() = answers;
                    let labelled = store.label("lid", id, Some(Label::Good), 0, then).unwrap();
                    assert_eq!(labelled.unwrap().label, Some(Label::Good));
                }
            });
        });
        let live = *live.lock().unwrap();
        assert_eq!(live, store.answers("lid").unwrap());
        assert_eq!((live.unanswered, live.answered[0]), (EACH as u64, [EACH as u64; 2]));
        assert!(
            store
                .label("lid", 3 * EACH, None, 0, |_, _| unreachable!())
                .unwrap()
                .is_none()
        );
    }
}
