//! The tables.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};

use crate::{Error, Result};

/// The schema that this program reads and writes. Each change of the tables raises it.
const VERSION: i64 = 8;

/// How long a connection waits for another one, such as a backup's.
const PATIENCE: Duration = Duration::from_secs(10);

const TABLES: &str = "
CREATE TABLE line (
    name      TEXT PRIMARY KEY,
    version   INTEGER NOT NULL,
    previous  INTEGER,
    -- When its shift began, and the number that its first inspection has: clocks are set.
    shift     INTEGER NOT NULL,
    first     INTEGER NOT NULL,
    -- The version of the run that the last start named.
    opened    INTEGER NOT NULL
) STRICT;

CREATE TABLE version (
    line      TEXT NOT NULL,
    number    INTEGER NOT NULL,
    model     TEXT NOT NULL,
    made      TEXT NOT NULL,
    parent    INTEGER,
    created   INTEGER NOT NULL,
    state     TEXT NOT NULL,
    note      TEXT,
    trial     TEXT,
    -- Higher than that of all versions of the line that were put to use before; null if it never was.
    used      INTEGER,
    PRIMARY KEY (line, number)
) STRICT;

CREATE TABLE inspection (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    line          TEXT NOT NULL,
    received      INTEGER NOT NULL,
    source        TEXT NOT NULL,
    name          TEXT,
    verdict       TEXT NOT NULL,
    reason        TEXT,
    score         REAL,
    p_value       REAL,
    threshold     REAL,
    rate          REAL NOT NULL,
    confidence    REAL,
    -- The first of them, and how many there are.
    regions       TEXT NOT NULL,
    regions_total INTEGER NOT NULL,
    width         INTEGER,
    height        INTEGER,
    -- Of its file, of which one was judged.
    pictures      INTEGER,
    model         TEXT NOT NULL,
    version       INTEGER NOT NULL,
    riad_version  TEXT NOT NULL,
    ms            REAL NOT NULL,
    audit         INTEGER NOT NULL,
    label         TEXT,
    labelled      INTEGER,
    picture       TEXT,
    bytes         INTEGER NOT NULL,
    -- The sender's key, by which a request that is sent again is known, and the SHA-256 of its picture.
    key           TEXT,
    key_picture   TEXT,
    -- Of a file in the watched folder: path, size and time of change.
    identity      TEXT,
    -- How many milliseconds the machine had run when the picture was there.
    ran           INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX inspection_key ON inspection (line, key) WHERE key IS NOT NULL;
CREATE UNIQUE INDEX inspection_identity ON inspection (line, identity) WHERE identity IS NOT NULL;
CREATE INDEX inspection_line ON inspection (line, id);
CREATE INDEX inspection_verdict ON inspection (line, verdict, id);
CREATE INDEX inspection_label ON inspection (line, label, id) WHERE label IS NOT NULL;
CREATE INDEX inspection_audit ON inspection (line, id) WHERE audit = 1;
CREATE INDEX inspection_received ON inspection (line, received);
CREATE INDEX inspection_unanswered ON inspection (line, id)
    WHERE label IS NULL AND source <> 'page' AND (verdict = 'defective' OR audit = 1);
CREATE INDEX inspection_kept ON inspection (bytes) WHERE picture IS NOT NULL;
CREATE INDEX inspection_old ON inspection (received) WHERE picture IS NOT NULL AND label IS NULL;

CREATE TABLE sink (
    name       TEXT PRIMARY KEY,
    -- The last inspection that it got or that was given up.
    delivered  INTEGER NOT NULL,
    -- How many were given up.
    dropped    INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The numbers by which PLCs know lines, from 0 without a gap. Each belongs to a name for ever.
CREATE TABLE place (
    number  INTEGER PRIMARY KEY,
    line    TEXT NOT NULL UNIQUE
) STRICT;

-- Lines that are being made, and the good pictures that they are made of.
CREATE TABLE draft (
    name     TEXT PRIMARY KEY,
    created  INTEGER NOT NULL,
    state    TEXT NOT NULL,
    note     TEXT,
    plan     TEXT,
    found    TEXT,
    -- How its pictures are looked at: a PNG of the region where defects are looked for, and the sample value that is white.
    region       BLOB,
    white_level  INTEGER
) STRICT;

CREATE TABLE good (
    -- Never used again, as pictures are asked for by it.
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    line    TEXT NOT NULL,
    name    TEXT NOT NULL,
    sha256  TEXT NOT NULL,
    bytes   INTEGER NOT NULL,
    width   INTEGER NOT NULL,
    height  INTEGER NOT NULL,
    -- The brightest sample of the file, and the largest that it could have; null unless samples are integers of more than 8 bits.
    brightest  INTEGER,
    full       INTEGER
) STRICT;
CREATE UNIQUE INDEX good_line ON good (line, sha256);

-- Lines whose state a broker has to forget.
CREATE TABLE forgotten (
    sink  TEXT NOT NULL,
    line  TEXT NOT NULL,
    PRIMARY KEY (sink, line)
) STRICT;
";

/// Opens the database to write. One that is new gets its tables.
pub(super) fn open(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A row that was confirmed survives a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match found {
        0 => connection.execute_batch(&format!("BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"))?,
        VERSION => {}
        _ => {
            return Err(Error::OtherSchema {
                path: path.to_owned(),
                found,
                known: VERSION,
            });
        }
    }
    Ok(connection)
}

/// Opens it to read.
pub(super) fn reader(path: &Path) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(PATIENCE)?;
    Ok(connection)
}
