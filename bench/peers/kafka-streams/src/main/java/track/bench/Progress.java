package track.bench;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.function.LongSupplier;

/** How far the topic is folded: when the first record came, and when the last one of each partition is done. */
final class Progress {
  private final Map<Integer, Long> ends;
  private final Map<Integer, Boolean> done = new ConcurrentHashMap<>();
  private final CountDownLatch left;
  private final LongSupplier cpuNanos;
  private volatile boolean began;
  private long beganNanos;
  private long cpuBeganNanos;

  Progress(Map<Integer, Long> ends, LongSupplier cpuNanos) {
    this.ends = ends;
    this.cpuNanos = cpuNanos;
    this.left = new CountDownLatch((int) ends.values().stream().filter(end -> end > 0).count());
  }

  /** A record is about to be folded. */
  void begin() {
    if (!began) {
      synchronized (this) {
        if (!began) {
          beganNanos = System.nanoTime();
          cpuBeganNanos = cpuNanos.getAsLong();
          began = true;
        }
      }
    }
  }

  /** A record is folded. */
  void folded(int partition, long offset) {
    if (offset + 1 >= ends.get(partition) && done.put(partition, true) == null) {
      left.countDown();
    }
  }

  void awaitEnd() throws InterruptedException {
    left.await();
  }

  synchronized long beganNanos() {
    return beganNanos;
  }

  synchronized long cpuBeganNanos() {
    return cpuBeganNanos;
  }
}
