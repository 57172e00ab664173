package example;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Acts on alerts: prints each, and rolls a model back when an incident opens.
 *
 * <p>At least once: the offset of an alert is committed when it was handled. If handling throws, the
 * program ends with code 1 and the next start is given the same alert. SIGTERM ends it with code 0
 * behind the alert that is being handled.
 */
public final class Subscriber {
    private static final int REMEMBERED_IDS = 10_000;
    private static final ObjectMapper JSON = new ObjectMapper();

    /** Ids that were handled: the oldest is forgotten, so memory is bounded. */
    private final Map<String, Boolean> handled =
            new LinkedHashMap<>() {
                @Override
                protected boolean removeEldestEntry(Map.Entry<String, Boolean> eldest) {
                    return size() > REMEMBERED_IDS;
                }
            };

    private volatile boolean stopping;

    public static void main(String[] args) {
        new Subscriber().run();
    }

    private void run() {
        Thread main = Thread.currentThread();
        KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings());
        // SIGTERM runs this. A JVM that a signal ends would report 143 however clean its end was.
        Thread hook =
                new Thread(
                        () -> {
                            stopping = true;
                            consumer.wakeup();
                            try {
                                main.join();
                            } catch (InterruptedException interrupted) {
                                Thread.currentThread().interrupt();
                            }
                            Runtime.getRuntime().halt(0);
                        });
        Runtime.getRuntime().addShutdownHook(hook);
        try (consumer) {
            consumer.subscribe(List.of(setting("TOPIC", "alerts")));
            while (!stopping) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    if (stopping) {
                        return;
                    }
                    take(record);
                    commit(consumer, record);
                }
            }
        } catch (WakeupException stop) {
            // Thrown by poll: the program was told to end.
        } catch (RuntimeException failure) {
            failure.printStackTrace();
            Runtime.getRuntime().halt(1); // not exit: the hook would wait for this thread
        }
    }

    private static Properties settings() {
        Properties settings = new Properties();
        settings.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, setting("KAFKA_BROKERS", "localhost:9092"));
        settings.put(ConsumerConfig.GROUP_ID_CONFIG, setting("GROUP", "my-automation"));
        // Java's default is read_uncommitted, which shows alerts of aborted transactions.
        settings.put(ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed");
        // By default offsets are committed in the background, handled or not.
        settings.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false);
        // A new group begins with what is there; by default it misses all that comes before its first commit.
        settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        settings.put(ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class);
        settings.put(ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class);
        return settings;
    }

    private void take(ConsumerRecord<byte[], byte[]> record) {
        JsonNode alert;
        try {
            alert = JSON.readTree(record.value());
            if (!"stream-monitor/alert/v1".equals(alert.path("schema").asText())) {
                throw new IllegalArgumentException("not an alert of version 1");
            }
        } catch (IOException | IllegalArgumentException unreadable) {
            System.err.printf("passed over: offset %d of %s-%d: %s%n",
                    record.offset(), record.topic(), record.partition(), unreadable.getMessage());
            return;
        }
        String id = alert.path("id").asText();
        // Alerts about the past that a worker found at its first start are no call to act.
        if (handled.containsKey(id) || alert.path("backfill").asBoolean()) {
            return;
        }
        handle(alert);
        handled.put(id, true);
    }

    private static void handle(JsonNode alert) {
        JsonNode labels = alert.path("labels");
        String model = labels.path("model").asText();
        String version = labels.path("version").asText();
        System.out.printf("%s %s %s %s%n",
                alert.path("status").asText(), model, version, labels.path("feature").asText());
        if ("opened".equals(alert.path("state").asText())) {
            rollBack(model, version);
        }
    }

    /** Your automation: deploy the version before, start a training, open a ticket. */
    private static void rollBack(String model, String version) {
        System.out.printf("roll back %s %s%n", model, version);
    }

    private static void commit(KafkaConsumer<?, ?> consumer, ConsumerRecord<?, ?> record) {
        TopicPartition partition = new TopicPartition(record.topic(), record.partition());
        Map<TopicPartition, OffsetAndMetadata> place =
                Map.of(partition, new OffsetAndMetadata(record.offset() + 1));
        try {
            consumer.commitSync(place);
        } catch (WakeupException stop) {
            consumer.commitSync(place); // the wakeup was for poll
        }
    }

    private static String setting(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }
}
