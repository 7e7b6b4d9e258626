-- What still has to be done is found without reading every run.

-- +goose Up
CREATE INDEX run_open ON run (experiment) WHERE status IN ('queued', 'running', 'lost');
