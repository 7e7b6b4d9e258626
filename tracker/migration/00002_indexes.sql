-- What is looked for by these columns is found without reading every row: what has changed, the runs of an experiment,
-- who else has an environment or a file.

-- +goose Up
CREATE INDEX run_changed ON run (changed);
CREATE INDEX run_experiment ON run (experiment);
CREATE INDEX run_environment ON run (environment);
CREATE INDEX artifact_digest ON artifact (digest);
