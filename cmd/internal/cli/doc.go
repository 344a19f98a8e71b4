// Package cli is what the two commands share: how settings are read and checked, how they log,
// and how they end.
//
// A setting has one name everywhere. The flag --flush-interval is FIRETRAIL_FLUSH_INTERVAL in the
// environment and flush-interval in the YAML file; a flag wins over the environment, and the
// environment over the file. In the file, maps may stand for the parts of a name: "tls: {ca: x}" is
// "tls-ca: x". Secrets have no flag.
//
// [Parse] reads all three and reports every problem at once, so that nobody fixes a configuration one
// error at a time. A command ends with one of three exit codes: [Done], [Failed], [Usage].
package cli
