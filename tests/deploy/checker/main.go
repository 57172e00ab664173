// Checker reads the container files with the code that container tools themselves use, and prints
// what they say as JSON:
//
//	checker compose FILE [NAME=VALUE...]   the project as the Compose reference loader has it
//	checker dockerfile FILE CONTEXT        stages, instructions and findings of BuildKit's frontend
//	checker context FOLDER                 the files that a build is sent, by .dockerignore
//
// Variables of the environment are not used: a project's are those of the command line. Exit code 1,
// with the reason on standard error, where the file is refused.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var found any
	var err error
	switch {
	case len(args) >= 2 && args[0] == "compose":
		found, err = compose(args[1], args[2:])
	case len(args) == 3 && args[0] == "dockerfile":
		found, err = dockerfile(args[1], args[2])
	case len(args) == 2 && args[0] == "context":
		found, err = files(args[1])
	default:
		return fmt.Errorf("usage: checker compose FILE [NAME=VALUE...] | dockerfile FILE CONTEXT | context FOLDER")
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}
