// Package chaos holds the run that puts all of it through everything at once: producers, brokers, workers and the database
// as processes, killed and stopped at random, while bad records and a flood come in; and the account of every event at
// its end. It has no code but tests.
//
// `make chaos` is the long form. The short one runs with the integration suite. Set by the environment:
//
//	FIRETRAIL_CHAOS_DURATION  how long faults are made (1m)
//	FIRETRAIL_CHAOS_DATABASE  clickhouse or sqlite (clickhouse)
//	FIRETRAIL_CHAOS_SEED      of the plan of the faults (random; the report says it)
//	FIRETRAIL_CHAOS_RATE      events a second of each producer (500)
//	FIRETRAIL_CHAOS_DIR       where logs and databases are kept (a temporary directory, removed when all is well)
//	FIRETRAIL_CHAOS_WORKER    a sink-worker to run in the place of this checkout's, such as one that was broken on purpose
package chaos
