package track.bench;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/** Keys and values of the stores, as short as they can be. */
final class Keys {
  static final long QUARTER_MS = 15 * 60 * 1000;
  static final long DAY_MS = 96 * QUARTER_MS;

  /** event, NUL, number of a quarter or a day. */
  static byte[] of(String event, int number) {
    return of(new byte[0], event, number);
  }

  /** user, event, NUL, number of a quarter or a day. */
  static byte[] of(byte[] user, String event, int number) {
    byte[] name = event.getBytes(StandardCharsets.UTF_8);
    return ByteBuffer.allocate(user.length + name.length + 6)
        .put(user).put((byte) 0).put(name).put((byte) 0).putInt(number).array();
  }

  static int number(byte[] key) {
    return ByteBuffer.wrap(key).getInt(key.length - 4);
  }

  /** The event of a key without a user. */
  static String event(byte[] key) {
    return new String(key, 1, key.length - 6, StandardCharsets.UTF_8);
  }

  static byte[] longs(long... values) {
    ByteBuffer bytes = ByteBuffer.allocate(8 * values.length);
    for (long value : values) {
      bytes.putLong(value);
    }
    return bytes.array();
  }

  static long first(byte[] value) {
    return value == null ? 0 : ByteBuffer.wrap(value).getLong(0);
  }

  static long second(byte[] value) {
    return value == null ? 0 : ByteBuffer.wrap(value).getLong(8);
  }

  private Keys() {}
}
