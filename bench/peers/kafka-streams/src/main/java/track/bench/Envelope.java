package track.bench;

import com.google.protobuf.CodedInputStream;
import java.io.IOException;

/** What the fold needs of {@code track.v1.Event}; the other fields are passed over. */
final class Envelope {
  byte[] eventId = new byte[0];
  String event = "";
  byte[] userId = new byte[0];
  long timestampMs;
  boolean clientEventId;

  static Envelope decode(byte[] value) throws IOException {
    Envelope envelope = new Envelope();
    CodedInputStream in = CodedInputStream.newInstance(value);
    for (int tag = in.readTag(); tag != 0; tag = in.readTag()) {
      switch (tag >>> 3) {
        case 1 -> envelope.eventId = in.readByteArray();
        case 2 -> envelope.event = in.readStringRequireUtf8();
        case 3 -> envelope.userId = in.readByteArray();
        case 4 -> envelope.timestampMs = in.readInt64();
        case 7 -> envelope.clientEventId = in.readBool();
        default -> in.skipField(tag);
      }
    }
    return envelope;
  }
}
