import java.io.*;
import java.nio.charset.StandardCharsets;
import java.util.*;

/** Reads property files from standard input, each as a length and that many bytes, and prints what Java makes of them. */
public class ReadProperties {
    public static void main(String[] arguments) throws IOException {
        DataInputStream in = new DataInputStream(new BufferedInputStream(System.in));
        DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out));
        for (int files = in.readInt(); files > 0; files--) {
            byte[] text = new byte[in.readInt()];
            in.readFully(text);
            Properties properties = new Properties();
            try {
                properties.load(new StringReader(new String(text, StandardCharsets.UTF_8)));
            } catch (IllegalArgumentException malformed) {
                out.writeInt(-1);
                continue;
            }
            out.writeInt(properties.size());
            for (Map.Entry<Object, Object> property : properties.entrySet()) {
                write(out, (String) property.getKey());
                write(out, (String) property.getValue());
            }
        }
        out.flush();
    }

    private static void write(DataOutputStream out, String text) throws IOException {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_16BE);
        out.writeInt(bytes.length);
        out.write(bytes);
    }
}
