// Package admin is the worker's window for operators: Prometheus metrics, and whether it lives and is ready, over
// HTTP on an address that only this host reaches, unless told otherwise. Nothing can be changed through it, and
// nothing in it names a tenant.
package admin
