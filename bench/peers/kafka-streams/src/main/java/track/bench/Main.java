package track.bench;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KafkaStreams.State;

/**
 * Folds {@code track.events} to its present end, commits, closes, and prints one line of JSON: the events, and the
 * seconds and processor seconds from the first of them until everything is flushed.
 *
 * <p>{@code java … track.bench.Main BROKERS STATE_DIR ANSWERS_FILE [APPLICATION_ID]}
 */
public final class Main {
  private static final String TOPIC = "track.events";

  public static void main(String[] args) throws Exception {
    String brokers = args[0];
    Path stateDir = Path.of(args[1]);
    Path answers = Path.of(args[2]);
    String application = args.length > 3 ? args[3] : "kafka-streams-peer";

    Map<Integer, Long> ends = endOffsets(brokers);
    long records = ends.values().stream().mapToLong(Long::longValue).sum();
    Progress progress = new Progress(ends, Main::cpuNanos);
    Properties settings = Settings.of(brokers, application, stateDir);
    try (KafkaStreams streams = new KafkaStreams(Fold.topology(TOPIC, progress), settings)) {
      // A thread that dies would leave its partitions behind for ever.
      streams.setUncaughtExceptionHandler(
          error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return null;
          });
      streams.start();
      progress.awaitEnd();

      // The answers are read for the check alone: their time is taken off.
      long checkBegan = System.nanoTime();
      long checkCpuBegan = cpuNanos();
      Files.writeString(answers, Answers.read(streams));
      long check = System.nanoTime() - checkBegan;
      long checkCpu = cpuNanos() - checkCpuBegan;

      if (!streams.close(Duration.ofMinutes(5)) || streams.state() == State.ERROR) {
        throw new IllegalStateException("did not close in good order: " + streams.state());
      }
      double seconds = (System.nanoTime() - progress.beganNanos() - check) / 1e9;
      double cpuSeconds = (cpuNanos() - progress.cpuBeganNanos() - checkCpu) / 1e9;
      System.out.printf(
          "{\"done\":%d,\"seconds\":%.3f,\"cpu_seconds\":%.3f,\"cpu_seconds_total\":%.3f}%n",
          records, seconds, cpuSeconds, (cpuNanos() - checkCpu) / 1e9);
    }
  }

  private static Map<Integer, Long> endOffsets(String brokers) throws Exception {
    Map<String, Object> settings = new HashMap<>();
    settings.put("bootstrap.servers", brokers);
    try (Admin admin = Admin.create(settings)) {
      var topic = admin.describeTopics(java.util.List.of(TOPIC)).allTopicNames().get().get(TOPIC);
      var partitions =
          topic.partitions().stream()
              .collect(Collectors.toMap(p -> new TopicPartition(TOPIC, p.partition()), p -> OffsetSpec.latest()));
      return admin.listOffsets(partitions).all().get().entrySet().stream()
          .collect(Collectors.toMap(entry -> entry.getKey().partition(), entry -> entry.getValue().offset()));
    }
  }

  /** What this process has used of all processors. */
  static long cpuNanos() {
    return ((OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
  }
}
