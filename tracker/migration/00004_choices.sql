-- What a person chose between runs that were shown together.

-- +goose Up
CREATE TABLE choice (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    time   BIGINT NOT NULL,
    first  BIGINT NOT NULL REFERENCES run ON DELETE CASCADE, -- in the order in which they were shown
    second BIGINT NOT NULL REFERENCES run ON DELETE CASCADE,
    third  BIGINT REFERENCES run ON DELETE CASCADE,
    fourth BIGINT REFERENCES run ON DELETE CASCADE,
    best   BIGINT REFERENCES run ON DELETE CASCADE,          -- NULL where they look the same
    UNIQUE (first, second, time)
);
-- A run that is removed takes the choices with it that it was part of.
CREATE INDEX choice_second ON choice (second);
CREATE INDEX choice_third ON choice (third) WHERE third IS NOT NULL;
CREATE INDEX choice_fourth ON choice (fourth) WHERE fourth IS NOT NULL;
CREATE INDEX choice_best ON choice (best) WHERE best IS NOT NULL;
