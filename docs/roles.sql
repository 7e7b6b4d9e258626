-- Who may do what in a tracker's database. Run it once as a superuser, before or after hrlab has made its tables:
--
--     psql -d hrlab -v owner=lab -f roles.sql
--
-- The owner makes and upgrades the tables: the first hrlab of a new version is the owner's (hrlab queue status is enough).
-- Members of hrlab_writer record runs, queue trials and work. Members of hrlab_reader list, show, compare and export.
--
--     CREATE ROLE gpu1 LOGIN PASSWORD '…' IN ROLE hrlab_writer;
--     CREATE ROLE guest LOGIN PASSWORD '…' IN ROLE hrlab_reader;

\set ON_ERROR_STOP on
SELECT 'CREATE ROLE ' || name FROM unnest(ARRAY['hrlab_writer', 'hrlab_reader']) AS name
    WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = name) \gexec

GRANT USAGE, CREATE ON SCHEMA public TO :"owner";
GRANT USAGE ON SCHEMA public TO hrlab_writer, hrlab_reader;

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO hrlab_writer;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO hrlab_writer;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO hrlab_reader;

-- What the owner makes later.
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO hrlab_writer;
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO hrlab_writer;
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT SELECT ON TABLES TO hrlab_reader;
