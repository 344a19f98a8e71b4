//go:build integration && unix

package main

import "errors"

func lag(*tb, *settings) error   { return errors.New("-lag") }
func scale(*tb, *settings) error { return errors.New("-scale") }
