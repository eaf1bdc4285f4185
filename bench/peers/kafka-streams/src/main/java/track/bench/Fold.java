package track.bench;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;

/** One event after the other: has it been counted, counters, sessions in the order of arrival. */
final class Fold implements Processor<byte[], byte[], Void, Void> {
  static final String TOTALS = "totals";
  static final String SESSION_TOTALS = "session-totals";
  private static final String MARKS = "marks";
  private static final String USERS = "users";
  private static final String OPEN = "open";
  private static final String SESSION_USERS = "session-users";
  private static final Duration REMEMBERED = Duration.ofDays(30);
  private static final String PLAY = "play";
  private static final String STOP = "stop";

  private final Progress progress;
  private ProcessorContext<Void, Void> context;
  private WindowStore<byte[], byte[]> marks;
  private KeyValueStore<byte[], byte[]> totals;
  private KeyValueStore<byte[], byte[]> users;
  private KeyValueStore<byte[], byte[]> open;
  private KeyValueStore<byte[], byte[]> sessionTotals;
  private KeyValueStore<byte[], byte[]> sessionUsers;

  private Fold(Progress progress) {
    this.progress = progress;
  }

  static Topology topology(String topic, Progress progress) {
    var bytes = Serdes.ByteArray();
    StoreBuilder<?> marks =
        Stores.windowStoreBuilder(Stores.persistentWindowStore(MARKS, REMEMBERED, REMEMBERED, false), bytes, bytes)
            .withCachingEnabled();
    return new Topology()
        .addSource("events", bytes.deserializer(), bytes.deserializer(), topic)
        .addProcessor("fold", () -> new Fold(progress), "events")
        .addStateStore(marks, "fold")
        .addStateStore(store(TOTALS), "fold")
        .addStateStore(store(USERS), "fold")
        .addStateStore(store(OPEN), "fold")
        .addStateStore(store(SESSION_TOTALS), "fold")
        .addStateStore(store(SESSION_USERS), "fold");
  }

  private static StoreBuilder<?> store(String name) {
    return Stores.keyValueStoreBuilder(
            Stores.persistentKeyValueStore(name), Serdes.ByteArray(), Serdes.ByteArray())
        .withCachingEnabled();
  }

  @Override
  public void init(ProcessorContext<Void, Void> context) {
    this.context = context;
    marks = context.getStateStore(MARKS);
    totals = context.getStateStore(TOTALS);
    users = context.getStateStore(USERS);
    open = context.getStateStore(OPEN);
    sessionTotals = context.getStateStore(SESSION_TOTALS);
    sessionUsers = context.getStateStore(SESSION_USERS);
  }

  @Override
  public void process(Record<byte[], byte[]> record) {
    progress.begin();
    try {
      Envelope event = Envelope.decode(record.value());
      if (!event.clientEventId || isFirst(event)) {
        count(event);
      }
    } catch (IOException error) {
      throw new IllegalStateException(error);
    }
    var place = context.recordMetadata().orElseThrow();
    progress.folded(place.partition(), place.offset());
  }

  private boolean isFirst(Envelope event) {
    byte[] key = ByteBuffer.allocate(event.userId.length + 1 + event.eventId.length)
        .put(event.userId).put((byte) 0).put(event.eventId).array();
    long now = context.currentStreamTimeMs();
    try (var seen = marks.fetch(key, now - REMEMBERED.toMillis(), now)) {
      if (seen.hasNext()) {
        return false;
      }
    }
    marks.put(key, new byte[0], now);
    return true;
  }

  private void count(Envelope event) {
    int quarter = (int) Math.floorDiv(event.timestampMs, Keys.QUARTER_MS);
    add(totals, Keys.of(event.event, quarter));
    add(users, Keys.of(event.userId, event.event, quarter));
    if (event.event.equals(PLAY)) {
      byte[] plays = open.get(event.userId);
      int length = plays == null ? 0 : plays.length;
      byte[] more = plays == null ? new byte[8] : Arrays.copyOf(plays, length + 8);
      ByteBuffer.wrap(more).putLong(length, event.timestampMs);
      open.put(event.userId, more);
    } else if (event.event.equals(STOP)) {
      close(event);
    }
  }

  /** The last play to arrive is closed, whatever its time; one that would end before it began is dropped. */
  private void close(Envelope stop) {
    byte[] plays = open.get(stop.userId);
    if (plays == null) {
      return;
    }
    int last = plays.length - 8;
    long began = ByteBuffer.wrap(plays).getLong(last);
    open.put(stop.userId, last == 0 ? null : Arrays.copyOf(plays, last));
    long length = stop.timestampMs - began;
    if (length >= 0 && length <= REMEMBERED.toMillis()) {
      int quarter = (int) Math.floorDiv(began, Keys.QUARTER_MS);
      add(sessionTotals, Keys.of(PLAY, quarter), length);
      add(sessionUsers, Keys.of(stop.userId, PLAY, quarter), length);
    }
  }

  private static void add(KeyValueStore<byte[], byte[]> store, byte[] key) {
    store.put(key, Keys.longs(Keys.first(store.get(key)) + 1));
  }

  private static void add(KeyValueStore<byte[], byte[]> store, byte[] key, long length) {
    byte[] before = store.get(key);
    store.put(key, Keys.longs(Keys.first(before) + 1, Keys.second(before) + length));
  }
}
