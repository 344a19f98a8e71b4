// Package kafkaclient holds what every Kafka client of Firetrail shares, producer and worker alike:
// where the brokers are, how to reach them securely, and who we are to them.
//
// A [Config] is checked by [Config.Validate], which reports every problem at once by field name, and
// turned into franz-go options by [Config.Opts], which reads the files it names. Whoever builds a client
// adds the options of its own role to these:
//
//	opts, err := cfg.Opts()
//	if err != nil {
//		return err
//	}
//	cl, err := kgo.NewClient(append(opts, kgo.ConsumeTopics("audit.events"))...)
//
// Building a client touches no network. [Check] does, once, and puts an unreachable broker, a wrong
// certificate authority or a refused password into a sentence that names the setting to look at.
// [EnsureTopics] makes topics, and [WeakTopics] tells where one would lose acknowledged records.
//
// Secrets are never logged and never printed: a password comes from a file, read again at every
// authentication so that it can be rotated, or from the program's environment.
package kafkaclient
