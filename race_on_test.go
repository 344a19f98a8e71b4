//go:build race

package firetrail

const raceEnabled = true
