-- A run's writer is told to stop by the run itself, so that what ends it first decides what becomes of it; and workers
-- say that they live while they wait for runs.

-- +goose Up
ALTER TABLE run ADD COLUMN cancelled BIGINT; -- when its writer was told to stop; NULL where it was not

CREATE TABLE worker (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    host          TEXT NOT NULL,
    pid           BIGINT NOT NULL,
    process_start BIGINT NOT NULL,
    beat          BIGINT NOT NULL
);
