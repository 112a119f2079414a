PRAGMA application_id = 1128548696;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE exporter (version TEXT NOT NULL, opened REAL NOT NULL);
INSERT INTO "exporter" VALUES('0.1.0',1.7955386462766647339e+09);
CREATE TABLE integrations (
            workspace TEXT NOT NULL,
            id TEXT NOT NULL,
            listed INTEGER NOT NULL,    -- whether the list ever told of it
            left_at REAL,               -- Unix time since when it is gone
            record TEXT,                -- JSON; NULL while it is not followed
            PRIMARY KEY (workspace, id)
        );
INSERT INTO "integrations" VALUES('production','5f2c',1,NULL,'{"knowledge":{"ledger":{"seen":true,"counters":{"success":1,"rows_synced":40,"duration_sum":30.0,"duration_count":1},"runs":[{"status":"success","start":1789964000.0,"finish":1789964060.25,"rows_synced":110,"rows_failed":1},{"status":"partial","start":1789967600.0,"finish":1789967660.25,"rows_synced":109,"rows_failed":0},{"status":"success","start":1789971200.0,"finish":1789971260.25,"rows_synced":108,"rows_failed":2},{"status":"config_error","start":1789974800.0,"finish":1789974860.25,"rows_synced":107,"rows_failed":1},{"status":"error","start":1789978400.0,"finish":1789978460.25,"rows_synced":106,"rows_failed":0},{"status":"success","start":1789982000.0,"finish":1789982060.25,"rows_synced":105,"rows_failed":2},{"status":"success","start":1789985600.0,"finish":1789985660.25,"rows_synced":104,"rows_failed":1},{"status":"config_error","start":1789989200.0,"finish":1789989260.25,"rows_synced":103,"rows_failed":0},{"status":"error","start":1789992800.0,"finish":1789992860.25,"rows_synced":102,"rows_failed":2},{"status":"partial","start":1789996400.0,"finish":1789996460.25,"rows_synced":101,"rows_failed":1},{"status":"success","start":1790000030.3,"finish":1790000060.3,"rows_synced":40,"rows_failed":0}],"floor":1789964000.0,"first_seen":1790000000.0,"history_start":1789964000.0},"item":{"id":"5f2c","name":"sync-5f2c","type":"users_track","status":"active","warehouse":"snowflake","last_job_start":1790000030.3,"last_job_status":"success"},"answered":{"start":1790000030.3,"status":"success","watermark":null},"zero_served":true},"read_at":1790000060.5,"read_server":1790000060.0,"seen_server":1790000060.0,"refreshed":1790000060.5}');
INSERT INTO "integrations" VALUES('production','a-gone-one',1,1795510000.5,'{"knowledge":{"ledger":{"seen":true,"counters":{},"runs":[{"status":"success","start":1789992800.0,"finish":1789992860.0,"rows_synced":100,"rows_failed":0},{"status":"success","start":1789996400.0,"finish":1789996460.0,"rows_synced":100,"rows_failed":0}],"floor":1789992800.0,"first_seen":1790000000.0,"history_start":1789992800.0},"item":{"id":"a-gone-one","name":"sync-a-gone-one","type":"users_track","status":"active","warehouse":"snowflake","last_job_start":1789996400.0,"last_job_status":"success"},"answered":{"start":1789996400.0,"status":"success","watermark":null},"zero_served":true},"read_at":1790000000.3,"read_server":1790000000.0,"seen_server":1790000000.0,"refreshed":1790000000.3}');
CREATE TABLE workspaces (
            name TEXT PRIMARY KEY,
            complete INTEGER NOT NULL,  -- whether its whole list was ever read
            left_at REAL                -- Unix time since when it is not configured
        );
INSERT INTO "workspaces" VALUES('production',1,NULL);
COMMIT;
