package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

type instruction struct {
	Name string `json:"name"`
	// Text is the instruction as it stands in the file.
	Text string `json:"text"`
	Args any    `json:"args"`
}

type stage struct {
	Name         string        `json:"name"`
	Base         string        `json:"base"`
	Instructions []instruction `json:"instructions"`
}

type report struct {
	Arguments map[string]string `json:"arguments"`
	Stages    []stage           `json:"stages"`
	// Image is the final stage's configuration as the frontend would write it.
	Image    json.RawMessage `json:"image"`
	Findings []string        `json:"findings"`
}

// bases answers for every base image with an empty configuration: there is no registry to ask.
type bases struct{}

func (bases) ResolveImageConfig(
	_ context.Context, ref string, _ sourceresolver.Opt,
) (string, digest.Digest, []byte, error) {
	config, err := json.Marshal(ocispecs.Image{Platform: ocispecs.Platform{OS: "linux", Architecture: "amd64"}})
	return ref, digest.FromBytes(config), config, err
}

// dockerfile converts the file as a build would, without running it, and collects every warning.
func dockerfile(file, folder string) (*report, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	parsed, err := parser.Parse(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	stages, arguments, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		return nil, err
	}
	found := &report{Arguments: map[string]string{}, Findings: []string{}}
	for _, argument := range arguments {
		for _, pair := range argument.Args {
			found.Arguments[pair.Key] = pair.ValueString()
		}
	}
	for _, each := range stages {
		one := stage{Name: each.Name, Base: each.BaseName, Instructions: []instruction{}}
		for _, command := range each.Commands {
			text := command.Name()
			if source, ok := command.(fmt.Stringer); ok {
				text = source.String()
			}
			one.Instructions = append(one.Instructions, instruction{command.Name(), text, command})
		}
		found.Stages = append(found.Stages, one)
	}
	build := llb.Local(folder)
	platform := ocispecs.Platform{OS: "linux", Architecture: "amd64"}
	options := dockerfile2llb.ConvertOpt{
		MetaResolver:   bases{},
		MainContext:    &build,
		TargetPlatform: &platform,
		Warn: func(rule, _, _, message string, location []parser.Range) {
			line := 0
			if len(location) > 0 {
				line = location[0].Start.Line
			}
			found.Findings = append(found.Findings, fmt.Sprintf("line %d: %s: %s", line, rule, message))
		},
	}
	result, err := dockerfile2llb.Dockerfile2LLB(context.Background(), content, options)
	if err != nil {
		return nil, err
	}
	found.Image, err = json.Marshal(result.Image)
	return found, err
}
