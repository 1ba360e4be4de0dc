-- A journal written by the code of version 1 of its schema: 
PRAGMA application_id = 1431327562;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE decisions (
    id INTEGER PRIMARY KEY,
    app_id TEXT NOT NULL,
    at REAL NOT NULL,
    changed INTEGER NOT NULL,
    entry TEXT NOT NULL
);
INSERT INTO "decisions" VALUES(1,'e123456',10002.0,1,'{"app_id":"e123456","at":10002.0,"epoch":7,"changed":true,"snapshot":{"app_id":"e123456","at":10002.0,"slo":{"share":0.95,"seconds":30.0},"window":60.0,"slots_per_worker":4,"workers":{"desired":1,"requested":1,"starting":0,"ready":1,"busy":1,"standby":0,"draining":0},"start_delay":null,"arrival_rate":null,"throughput":2.5,"messages_ready":null,"messages_unacknowledged":null,"depth_age":null,"oldest_age":null,"in_flight_age":2.0,"service_time":{"count":4,"mean":2.0,"p50":2.0,"p95":2.0,"p99":2.0,"maximum":2.0},"waiting_time":{"count":4,"mean":1.0,"p50":1.0,"p95":1.0,"p99":1.0,"maximum":1.0},"response_time":{"count":5,"mean":3.0,"p50":3.0,"p95":3.0,"p99":3.0,"maximum":3.0},"attainment":1.0,"recent_response_times":[],"recent_service_times":[],"failures":1,"totals":{"stored":5,"in_time":5,"dead":0,"failed":1,"start_seconds":0.0},"stale":[],"warming_up":true},"decision":{"desired_workers":1,"reason":"hold 1: the queue''s depth is not known","numbers":{},"rejected":[],"held":true,"wished":null,"alarms":[]},"bill":{"since":10002.0,"at":10002.0,"starting":0.0,"standby":0.0,"busy":0.0,"idle":0.0,"draining":0.0,"unobserved":0.0,"stored":5,"in_time":5,"dead":0}}');
INSERT INTO "decisions" VALUES(2,'e123456',10063.0,1,'{"app_id":"e123456","at":10063.0,"epoch":7,"changed":true,"snapshot":{"app_id":"e123456","at":10063.0,"slo":{"share":0.95,"seconds":30.0},"window":60.0,"slots_per_worker":4,"workers":{"desired":1,"requested":1,"starting":0,"ready":0,"busy":0,"standby":0,"draining":0},"start_delay":null,"arrival_rate":0.0,"throughput":0.0,"messages_ready":100,"messages_unacknowledged":0,"depth_age":0.0,"oldest_age":null,"in_flight_age":null,"service_time":{"count":4,"mean":2.0,"p50":2.0,"p95":2.0,"p99":2.0,"maximum":2.0},"waiting_time":null,"response_time":null,"attainment":null,"recent_response_times":[],"recent_service_times":[],"failures":0,"totals":{"stored":5,"in_time":5,"dead":0,"failed":1,"start_seconds":0.0},"stale":["service_time"],"warming_up":false},"decision":{"desired_workers":9,"reason":"100 wait and 0 are in flight, to be begun within 6 s; offered load 6.67 slots -> 34 slots; 4 a worker -> 9 workers; 9 wanted lately, 0 busy -> 9","numbers":{"horizon":6.0,"load":6.666666666666667,"slots":34,"wanted_lately":9},"rejected":["other settings: nothing rehearsed yet"],"held":false,"wished":null,"alarms":[]},"bill":{"since":10002.0,"at":10063.0,"starting":0.0,"standby":0.0,"busy":30.5,"idle":0.0,"draining":0.0,"unobserved":0.0,"stored":5,"in_time":5,"dead":0}}');
INSERT INTO "decisions" VALUES(3,'e123456',10065.0,0,'{"app_id":"e123456","at":10065.0,"epoch":7,"changed":false,"snapshot":{"app_id":"e123456","at":10065.0,"slo":{"share":0.95,"seconds":30.0},"window":60.0,"slots_per_worker":4,"workers":{"desired":9,"requested":9,"starting":0,"ready":1,"busy":1,"standby":0,"draining":0},"start_delay":null,"arrival_rate":0.0,"throughput":0.0,"messages_ready":100,"messages_unacknowledged":0,"depth_age":0.0,"oldest_age":null,"in_flight_age":null,"service_time":{"count":4,"mean":2.0,"p50":2.0,"p95":2.0,"p99":2.0,"maximum":2.0},"waiting_time":null,"response_time":null,"attainment":null,"recent_response_times":[],"recent_service_times":[],"failures":0,"totals":{"stored":5,"in_time":5,"dead":0,"failed":1,"start_seconds":0.0},"stale":["service_time"],"warming_up":false},"decision":{"desired_workers":9,"reason":"100 wait and 0 are in flight, to be begun within 6 s; offered load 6.67 slots -> 34 slots; 4 a worker -> 9 workers; 9 wanted lately, 1 busy -> 9","numbers":{"horizon":6.0,"load":6.666666666666667,"slots":34,"wanted_lately":9},"rejected":["other settings: nothing rehearsed yet"],"held":false,"wished":null,"alarms":[]},"bill":{"since":10002.0,"at":10065.0,"starting":0.0,"standby":0.0,"busy":31.5,"idle":0.0,"draining":0.0,"unobserved":0.0,"stored":5,"in_time":5,"dead":0}}');
INSERT INTO "decisions" VALUES(4,'e123456',10095.0,0,'{"app_id":"e123456","at":10095.0,"epoch":7,"changed":false,"snapshot":{"app_id":"e123456","at":10095.0,"slo":{"share":0.95,"seconds":30.0},"window":60.0,"slots_per_worker":4,"workers":{"desired":9,"requested":9,"starting":0,"ready":0,"busy":0,"standby":0,"draining":0},"start_delay":null,"arrival_rate":0.0,"throughput":0.0,"messages_ready":100,"messages_unacknowledged":0,"depth_age":0.0,"oldest_age":null,"in_flight_age":null,"service_time":{"count":4,"mean":2.0,"p50":2.0,"p95":2.0,"p99":2.0,"maximum":2.0},"waiting_time":null,"response_time":null,"attainment":null,"recent_response_times":[],"recent_service_times":[],"failures":0,"totals":{"stored":5,"in_time":5,"dead":0,"failed":1,"start_seconds":0.0},"stale":["service_time"],"warming_up":false},"decision":{"desired_workers":9,"reason":"100 wait and 0 are in flight, to be begun within 6 s; offered load 6.67 slots -> 34 slots; 4 a worker -> 9 workers; 9 wanted lately, 0 busy -> 9","numbers":{"horizon":6.0,"load":6.666666666666667,"slots":34,"wanted_lately":9},"rejected":["other settings: nothing rehearsed yet"],"held":false,"wished":null,"alarms":[]},"bill":{"since":10002.0,"at":10095.0,"starting":0.0,"standby":0.0,"busy":46.5,"idle":0.0,"draining":0.0,"unobserved":0.0,"stored":5,"in_time":5,"dead":0}}');
CREATE TABLE latest (                      -- the newest entry of each application
    app_id TEXT PRIMARY KEY,
    at REAL NOT NULL,
    entry TEXT NOT NULL                    -- JSON of journal.Entry
) WITHOUT ROWID;
INSERT INTO "latest" VALUES('e123456',10095.0,'{"app_id":"e123456","at":10095.0,"epoch":7,"changed":false,"snapshot":{"app_id":"e123456","at":10095.0,"slo":{"share":0.95,"seconds":30.0},"window":60.0,"slots_per_worker":4,"workers":{"desired":9,"requested":9,"starting":0,"ready":0,"busy":0,"standby":0,"draining":0},"start_delay":null,"arrival_rate":0.0,"throughput":0.0,"messages_ready":100,"messages_unacknowledged":0,"depth_age":0.0,"oldest_age":null,"in_flight_age":null,"service_time":{"count":4,"mean":2.0,"p50":2.0,"p95":2.0,"p99":2.0,"maximum":2.0},"waiting_time":null,"response_time":null,"attainment":null,"recent_response_times":[],"recent_service_times":[],"failures":0,"totals":{"stored":5,"in_time":5,"dead":0,"failed":1,"start_seconds":0.0},"stale":["service_time"],"warming_up":false},"decision":{"desired_workers":9,"reason":"100 wait and 0 are in flight, to be begun within 6 s; offered load 6.67 slots -> 34 slots; 4 a worker -> 9 workers; 9 wanted lately, 0 busy -> 9","numbers":{"horizon":6.0,"load":6.666666666666667,"slots":34,"wanted_lately":9},"rejected":["other settings: nothing rehearsed yet"],"held":false,"wished":null,"alarms":[]},"bill":{"since":10002.0,"at":10095.0,"starting":0.0,"standby":0.0,"busy":46.5,"idle":0.0,"draining":0.0,"unobserved":0.0,"stored":5,"in_time":5,"dead":0}}');
CREATE TABLE reports (
    id INTEGER PRIMARY KEY,
    app_id TEXT NOT NULL,
    arrived_at REAL NOT NULL,              -- UTC seconds since 1970
    finished_at REAL NOT NULL,
    waiting_time REAL,                     -- seconds
    service_time REAL,
    outcome TEXT NOT NULL
);
INSERT INTO "reports" VALUES(1,'e123456',9997.0,10000.0,1.0,2.0,'stored');
INSERT INTO "reports" VALUES(2,'e123456',9997.0,10000.0,1.0,2.0,'stored');
INSERT INTO "reports" VALUES(3,'e123456',9997.0,10000.0,1.0,2.0,'stored');
INSERT INTO "reports" VALUES(4,'e123456',9997.0,10000.0,1.0,2.0,'stored');
INSERT INTO "reports" VALUES(5,'e123456',9997.0,10000.0,NULL,NULL,'failed');
INSERT INTO "reports" VALUES(6,'e123456',9997.0,10000.0,NULL,NULL,'stored');
CREATE TABLE settings (      -- what each application is scaled under, as of the last start
    app_id TEXT PRIMARY KEY,
    settings TEXT NOT NULL                 -- JSON: name -> value
) WITHOUT ROWID
;
INSERT INTO "settings" VALUES('e123456','{"slo":"95% < 30s","policy":"slo","min_workers":1,"max_workers":10}');
CREATE INDEX decisions_of_app ON decisions (app_id, id);
COMMIT;
