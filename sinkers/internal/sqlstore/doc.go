// Package sqlstore holds what the SQL databases that speak SQLite's dialect share: the schema and its
// migrations, the statements, the filters of a query as SQL, and the way of a row into columns and back. It
// runs nothing itself: how a statement reaches the database is the backend's own business.
package sqlstore
