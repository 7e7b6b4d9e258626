-- Times are microseconds since 1970; texts are valid UTF-8 without NUL. Ids that others may keep are never used again.

-- +goose Up
CREATE TABLE experiment (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE
);

-- What runs of one program on one machine have in common is kept once: a JSON object of texts.
CREATE TABLE environment (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    digest TEXT NOT NULL UNIQUE,
    json   TEXT NOT NULL
);

CREATE TABLE run (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    experiment    BIGINT NOT NULL REFERENCES experiment,
    environment   BIGINT REFERENCES environment,
    name          TEXT NOT NULL,
    status        TEXT NOT NULL CHECK (status IN ('queued', 'running', 'finished', 'failed', 'stopped', 'lost')),
    error         TEXT NOT NULL DEFAULT '',
    command       TEXT NOT NULL DEFAULT '',
    created       BIGINT NOT NULL,
    started       BIGINT,
    ended         BIGINT,
    deleted       BIGINT,
    -- Who writes: the process, its last beat, and a token that changes hands with the run.
    host          TEXT NOT NULL DEFAULT '',
    pid           BIGINT NOT NULL DEFAULT 0,
    process_start BIGINT NOT NULL DEFAULT 0,
    beat          BIGINT NOT NULL DEFAULT 0,
    token         BIGINT NOT NULL DEFAULT 0,
    -- The value of change.n when anything of this run changed last.
    changed       BIGINT NOT NULL
);
CREATE INDEX run_running ON run (id) WHERE status = 'running';
CREATE INDEX run_name ON run (name);

CREATE TABLE change (n BIGINT NOT NULL);
INSERT INTO change (n) VALUES (0);

CREATE TABLE param (
    run    BIGINT NOT NULL REFERENCES run ON DELETE CASCADE,
    key    TEXT NOT NULL,
    text   TEXT NOT NULL,
    number DOUBLE PRECISION, -- where the parameter is one
    PRIMARY KEY (run, key)
) WITHOUT ROWID;

CREATE TABLE tag (
    run   BIGINT NOT NULL REFERENCES run ON DELETE CASCADE,
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run, key)
) WITHOUT ROWID;

CREATE TABLE note (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    run  BIGINT NOT NULL REFERENCES run ON DELETE CASCADE,
    time BIGINT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX note_run ON note (run);

CREATE TABLE metric_name (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE
);

-- SQLite turns NaN into NULL, so nan says it; infinities are values. There is no reference to run: it would be looked
-- up for every value, and the writer holds the run in the same transaction anyway.
CREATE TABLE metric (
    run   BIGINT NOT NULL,
    name  BIGINT NOT NULL,
    step  BIGINT NOT NULL,
    value DOUBLE PRECISION,
    nan   SMALLINT NOT NULL,
    PRIMARY KEY (run, name, step)
) WITHOUT ROWID;

-- NaN is neither min nor max of a metric that has other values. Columns are NULL where they are NaN.
CREATE TABLE summary (
    run       BIGINT NOT NULL REFERENCES run ON DELETE CASCADE,
    name      BIGINT NOT NULL REFERENCES metric_name,
    count     BIGINT NOT NULL,
    last      DOUBLE PRECISION,
    last_step BIGINT NOT NULL,
    min       DOUBLE PRECISION,
    min_step  BIGINT NOT NULL,
    max       DOUBLE PRECISION,
    max_step  BIGINT NOT NULL,
    PRIMARY KEY (run, name)
) WITHOUT ROWID;
CREATE INDEX summary_name ON summary (name);

CREATE TABLE thumbnail (
    digest TEXT PRIMARY KEY, -- of the pixels it was made from
    width  BIGINT NOT NULL,  -- theirs
    height BIGINT NOT NULL,
    jpeg   BYTEA NOT NULL
);

CREATE TABLE picture (
    run    BIGINT NOT NULL REFERENCES run ON DELETE CASCADE,
    name   TEXT NOT NULL,
    step   BIGINT NOT NULL,
    digest TEXT NOT NULL REFERENCES thumbnail,
    PRIMARY KEY (run, name, step)
) WITHOUT ROWID;
CREATE INDEX picture_digest ON picture (digest);

CREATE TABLE artifact (
    run    BIGINT NOT NULL REFERENCES run ON DELETE CASCADE,
    name   TEXT NOT NULL,
    digest TEXT NOT NULL,
    size   BIGINT NOT NULL,
    time   BIGINT NOT NULL,
    PRIMARY KEY (run, name)
) WITHOUT ROWID;

-- Load of the process and of the device, a row a beat.
CREATE TABLE sample (
    run        BIGINT NOT NULL REFERENCES run ON DELETE CASCADE,
    time       BIGINT NOT NULL,
    cpu        DOUBLE PRECISION NOT NULL, -- percent of one core
    memory     BIGINT NOT NULL,           -- bytes resident
    gpu        DOUBLE PRECISION,          -- percent
    gpu_memory BIGINT,                    -- bytes
    PRIMARY KEY (run, time)
) WITHOUT ROWID;
