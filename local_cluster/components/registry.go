package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry"

	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

// runRegistry serves the image registry kept under --directory. Several may
// serve one directory at once: it is written by rename only, and nothing is
// kept in memory.
func runRegistry() int {
	flags := flag.NewFlagSet("registry", flag.ExitOnError)
	directory := flags.String("directory", "", "folder that holds the images")
	address := flags.String("address", "127.0.0.1:5000", "address and port to listen on")
	_ = flags.Parse(os.Args[1:])

	config := &configuration.Configuration{
		Version: configuration.CurrentVersion,
		Storage: configuration.Storage{
			"filesystem":  configuration.Parameters{"rootdirectory": *directory},
			"maintenance": configuration.Parameters{"uploadpurging": map[any]any{"enabled": false}},
		},
	}
	config.HTTP.Addr = *address
	config.Log.Level = "warn"
	config.Log.AccessLog.Disabled = true

	server, err := registry.NewRegistry(context.Background(), config)
	if err == nil {
		err = server.ListenAndServe()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "registry:", err)
		return 1
	}
	return 0
}
