// Package prometheusaudit shows a producer's state as Prometheus metrics. It is a module of its own, so that the
// Prometheus client reaches the module graph of those alone who use it.
//
//	prometheus.MustRegister(prometheusaudit.New(audit.Stats))
//
// No metric is labelled by tenant.
package prometheusaudit
