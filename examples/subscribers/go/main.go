// Acts on alerts: prints each, and rolls a model back when an incident opens.
//
// At least once: the offset of an alert is committed when it was handled. If handling fails, the
// program ends with code 1 and the next start is given the same alert. SIGTERM ends it with code 0
// behind the alert that is being handled.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	schema        = "stream-monitor/alert/v1"
	rememberedIDs = 10_000
)

// alert has what this program needs of schemas/alert.v1.json.
type alert struct {
	Schema   string `json:"schema"`
	ID       string `json:"id"`
	Status   string `json:"status"`
	State    string `json:"state"`
	Backfill bool   `json:"backfill"`
	Labels   struct {
		Model   string `json:"model"`
		Version string `json:"version"`
		Feature string `json:"feature"`
	} `json:"labels"`
}

// rollBack is your automation: deploy the version before, start a training, open a ticket.
func rollBack(model, version string) error {
	_, err := fmt.Printf("roll back %s %s\n", model, version)
	return err
}

func handle(a alert) error {
	fmt.Println(a.Status, a.Labels.Model, a.Labels.Version, a.Labels.Feature)
	if a.State == "opened" {
		return rollBack(a.Labels.Model, a.Labels.Version)
	}
	return nil
}

// subscriber handles each alert once, as far as it remembers.
type subscriber struct {
	seen   map[string]struct{}
	oldest []string // ids in the order they were handled, so that the memory is bounded
}

func (s *subscriber) take(record *kgo.Record) error {
	var a alert
	if err := json.Unmarshal(record.Value, &a); err != nil || a.Schema != schema {
		log.Printf("passed over: %s[%d]@%d is no alert of version 1", record.Topic, record.Partition, record.Offset)
		return nil
	}
	// Alerts about the past that a worker found at its first start are no call to act.
	if _, repeat := s.seen[a.ID]; repeat || a.Backfill {
		return nil
	}
	if err := handle(a); err != nil {
		return fmt.Errorf("alert %s: %w", a.ID, err)
	}
	s.seen[a.ID] = struct{}{}
	s.oldest = append(s.oldest, a.ID)
	if len(s.oldest) > rememberedIDs {
		delete(s.seen, s.oldest[0])
		s.oldest = s.oldest[1:]
	}
	return nil
}

func run(ctx context.Context) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(setting("KAFKA_BROKERS", "localhost:9092"), ",")...),
		kgo.ConsumerGroup(setting("GROUP", "my-automation")),
		kgo.ConsumeTopics(setting("TOPIC", "alerts")),
		// The default is ReadUncommitted, which shows alerts of aborted transactions.
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// By default offsets are committed in the background.
		kgo.DisableAutoCommit(),
		// A new group begins with what is there.
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		// A partition is not handed over between an alert and its commit.
		kgo.BlockRebalanceOnPoll(),
	)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	s := &subscriber{seen: map[string]struct{}{}}
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetches.Err(); err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		for records := fetches.RecordIter(); !records.Done(); {
			record := records.Next()
			if err := s.take(record); err != nil {
				return err
			}
			if err := commit(client, record); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return nil
			}
		}
		client.AllowRebalance()
	}
}

// commit is bounded by itself: a signal must not keep a handled alert from being committed.
func commit(client *kgo.Client, record *kgo.Record) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return client.CommitRecords(ctx, record)
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}
