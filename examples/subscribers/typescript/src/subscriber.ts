/**
 * Acts on alerts: prints each, and rolls a model back when an incident opens.
 *
 * At least once: the offset of an alert is committed when it was handled. If handling throws, the
 * program ends with code 1 and the next start is given the same alert. SIGTERM ends it with code 0
 * behind the alert that is being handled.
 */
import kafkajs from "kafkajs";
import { decompress } from "lz4js";

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = kafkajs;

const SCHEMA = "stream-monitor/alert/v1";
const REMEMBERED_IDS = 10_000;

/** What this program needs of schemas/alert.v1.json. */
interface Alert {
  schema: string;
  id: string;
  status: "firing" | "resolved";
  state: "opened" | "joined" | "lasting" | "resolved" | "transient";
  backfill?: boolean;
  labels: { model: string; version: string; feature: string };
}

// Workers compress with LZ4, which KafkaJS leaves to a codec.
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: () => Promise.reject(new Error("this program only reads")),
  decompress: async (frame: Buffer) => Buffer.from(decompress(frame)),
});

const topic = process.env["TOPIC"] ?? "alerts";
const kafka = new Kafka({
  clientId: "alert-subscriber",
  brokers: (process.env["KAFKA_BROKERS"] ?? "localhost:9092").split(","),
  logLevel: logLevel.WARN,
});
const consumer = kafka.consumer({
  groupId: process.env["GROUP"] ?? "my-automation",
  readUncommitted: false, // the default, said aloud: aborted alerts are not to be seen
});

/** Your automation: deploy the version before, start a training, open a ticket. */
async function rollBack(model: string, version: string): Promise<void> {
  console.log(`roll back ${model} ${version}`);
}

async function handle({ status, state, labels }: Alert): Promise<void> {
  console.log(status, labels.model, labels.version, labels.feature);
  if (state === "opened") await rollBack(labels.model, labels.version);
}

function decode(value: Buffer | null): Alert | undefined {
  try {
    const found: unknown = JSON.parse(value?.toString("utf8") ?? "");
    return (found as Partial<Alert> | null)?.schema === SCHEMA ? (found as Alert) : undefined;
  } catch {
    return undefined;
  }
}

/** Ids that were handled; a Set keeps their order, so the oldest can be forgotten. */
const handled = new Set<string>();

async function take(value: Buffer | null, where: string): Promise<void> {
  const alert = decode(value);
  if (alert === undefined) {
    console.error(`passed over: ${where} is no alert of version 1`);
    return;
  }
  // Alerts about the past that a worker found at its first start are no call to act.
  if (handled.has(alert.id) || alert.backfill === true) return;
  await handle(alert);
  handled.add(alert.id);
  if (handled.size > REMEMBERED_IDS) handled.delete(handled.values().next().value as string);
}

async function end(code: number): Promise<void> {
  await consumer.disconnect(); // waits for the alert that is being handled
  process.exit(code);
}

process.once("SIGTERM", () => void end(0));
process.once("SIGINT", () => void end(0));
consumer.on(consumer.events.CRASH, ({ payload }) => {
  console.error(payload.error);
  if (!payload.restart) process.exit(1);
});

await consumer.connect();
// A new group begins with what is there; by default it misses all that comes before its first commit.
await consumer.subscribe({ topics: [topic], fromBeginning: true });
await consumer.run({
  autoCommit: false, // by default offsets are committed by number and time
  eachMessage: async ({ partition, message: { offset, value } }) => {
    try {
      await take(value, `${topic}[${partition}]@${offset}`);
    } catch (error) {
      console.error(error);
      process.exit(1); // KafkaJS would try again and again; the next start does too, behind a supervisor
    }
    await consumer.commitOffsets([{ topic, partition, offset: (BigInt(offset) + 1n).toString() }]);
  },
});
