package track.bench;

import java.time.LocalDate;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.state.QueryableStoreTypes;

/** The counts over all users, by UTC day and event, and the sessions over all days: as JSON, for the check. */
final class Answers {
  static String read(KafkaStreams streams) {
    Map<String, Map<String, Long>> days = new TreeMap<>();
    forEach(streams, Fold.TOTALS, (key, value) -> {
      LocalDate day = LocalDate.ofEpochDay(Math.floorDiv(Keys.number(key), 96));
      days.computeIfAbsent(day.toString(), none -> new TreeMap<>())
          .merge(Keys.event(key), Keys.first(value), Long::sum);
    });
    long[] sessions = new long[2];
    forEach(streams, Fold.SESSION_TOTALS, (key, value) -> {
      sessions[0] += Keys.first(value);
      sessions[1] += Keys.second(value);
    });
    String counts = days.entrySet().stream()
        .map(day -> "\"" + day.getKey() + "\":{" + names(day.getValue()) + "}")
        .collect(Collectors.joining(","));
    return "{\"counts\":{" + counts + "},\"sessions\":{\"count\":" + sessions[0]
        + ",\"duration_ms\":" + sessions[1] + "}}";
  }

  private static String names(Map<String, Long> counts) {
    return counts.entrySet().stream()
        .map(count -> "\"" + count.getKey() + "\":" + count.getValue())
        .collect(Collectors.joining(","));
  }

  private interface Row {
    void take(byte[] key, byte[] value);
  }

  private static void forEach(KafkaStreams streams, String name, Row row) {
    var type = QueryableStoreTypes.<byte[], byte[]>keyValueStore();
    try (var rows = streams.store(StoreQueryParameters.fromNameAndType(name, type)).all()) {
      rows.forEachRemaining(entry -> row.take(entry.key, entry.value));
    }
  }

  private Answers() {}
}
