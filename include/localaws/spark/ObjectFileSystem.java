package localaws;

import java.io.BufferedOutputStream;
import java.io.File;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.OutputStream;
import java.io.RandomAccessFile;
import java.net.URI;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.EnumSet;
import java.util.Iterator;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.CreateFlag;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileAlreadyExistsException;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.ParentNotDirectoryException;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.util.Progressable;

/**
 * The local AWS's objects as Spark sees them: files of a disk that are there whole or not at all, as on S3.
 *
 * A disk shows a file while it is being written, and keeps the half of it when its writer dies. So the body is written
 * into the local AWS's folder for incoming bodies and renamed onto the object's file by close(). What becomes of a stream
 * that is never closed nobody lists; the local AWS removes it when this process is over, whose id is in its name.
 *
 * Where S3 and a disk differ in what they can do, this does what Hadoop's own S3 file systems do: nothing is appended,
 * truncated or checksummed beside itself, folders come with their first object, and modes and owners are passed over.
 *
 * Compiled by Janino (see java_classes.py), which knows neither lambdas nor generics: hence the casts.
 */
public class ObjectFileSystem extends RawLocalFileSystem {
    /** The setting that names the folder for incoming bodies; it lies on the disk of the objects. */
    public static final String INCOMING = "fs.localaws.incoming";

    private static final URI NAME = URI.create("localaws:///");
    private static final int ATTEMPTS = 100;

    private final Set open = ConcurrentHashMap.newKeySet();
    private File incoming;
    private volatile boolean closed = false;

    public URI getUri() {
        return NAME;
    }

    public String getScheme() {
        return NAME.getScheme();
    }

    public void initialize(URI uri, Configuration conf) throws IOException {
        super.initialize(uri, conf);
        incoming = new File(conf.get(INCOMING));
        Files.createDirectories(incoming.toPath());
    }

    /** All of it from one look, so that size and time are of the same body; RawLocalFileSystem asks for each by itself. */
    public FileStatus getFileStatus(Path path) throws IOException {
        BasicFileAttributes found;
        try {
            found = Files.readAttributes(pathToFile(path).toPath(), BasicFileAttributes.class);
        } catch (FileSystemException error) {
            if (exists(path)) {
                throw error;
            }
            throw new FileNotFoundException(path + " does not exist");
        }
        return new FileStatus(
            found.isDirectory() ? 0 : found.size(), found.isDirectory(), 1, getDefaultBlockSize(path), found.lastModifiedTime().toMillis(),
            0, null, null, null, makeQualified(path)
        );
    }

    public FileStatus[] listStatus(Path path) throws IOException {
        return pathToFile(path).isFile() ? new FileStatus[] {getFileStatus(path)} : super.listStatus(path);
    }

    public FSDataOutputStream create(
        Path path, FsPermission permission, boolean overwrite, int bufferSize, short replication, long blockSize, Progressable progress
    ) throws IOException {
        if (closed) {
            throw new IOException(path + " cannot be written: its file system is closed");
        }
        File object = pathToFile(path);
        if (object.isDirectory()) {
            throw new FileAlreadyExistsException(path + " is a folder; expected an object or nothing");
        }
        if (object.exists() && !overwrite) {
            throw new FileAlreadyExistsException(path + " already exists");
        }
        File folder = object.getParentFile();
        while (!folder.exists()) {
            folder = folder.getParentFile();
        }
        if (folder.isFile()) {
            throw new ParentNotDirectoryException(folder + " is an object, so there cannot be " + path + " below it");
        }
        return new FSDataOutputStream(new BufferedOutputStream(new Body(object), bufferSize), statistics);
    }

    public FSDataOutputStream create(
        Path path, boolean overwrite, int bufferSize, short replication, long blockSize, Progressable progress
    ) throws IOException {
        return create(path, null, overwrite, bufferSize, replication, blockSize, progress);
    }

    public FSDataOutputStream createNonRecursive(
        Path path, FsPermission permission, EnumSet flags, int bufferSize, short replication, long blockSize, Progressable progress
    ) throws IOException {
        if (!pathToFile(path).getParentFile().exists()) {
            throw new FileNotFoundException(path.getParent() + " does not exist; expected the folder of " + path.getName());
        }
        return create(path, permission, flags.contains(CreateFlag.OVERWRITE), bufferSize, replication, blockSize, progress);
    }

    public FSDataOutputStream createNonRecursive(
        Path path, FsPermission permission, boolean overwrite, int bufferSize, short replication, long blockSize, Progressable progress
    ) throws IOException {
        EnumSet flags = overwrite ? EnumSet.of(CreateFlag.CREATE, CreateFlag.OVERWRITE) : EnumSet.of(CreateFlag.CREATE);
        return createNonRecursive(path, permission, flags, bufferSize, replication, blockSize, progress);
    }

    public FSDataOutputStream append(Path path, int bufferSize, Progressable progress) {
        throw new UnsupportedOperationException("S3 does not append to objects: " + path + " can only be written anew");
    }

    public boolean truncate(Path path, long length) {
        throw new UnsupportedOperationException("S3 does not truncate objects: " + path + " can only be written anew");
    }

    /** None of RawLocalFileSystem's: all are about what S3 does not do. */
    public boolean hasPathCapability(Path path, String capability) {
        return false;
    }

    public void setPermission(Path path, FsPermission permission) {
    }

    public void setOwner(Path path, String user, String group) {
    }

    public void setTimes(Path path, long modified, long accessed) {
    }

    /** Drops what is still being written, as S3 does when its client is closed: a job that is over writes no more. */
    public void close() throws IOException {
        closed = true;
        for (Iterator bodies = open.iterator(); bodies.hasNext();) {
            ((Body) bodies.next()).drop();
        }
        super.close();
    }

    /** The body of an object that is being written. */
    private final class Body extends OutputStream {
        private final File object;
        private final File aside;
        private final RandomAccessFile file;
        private boolean lost = false;

        Body(File object) throws IOException {
            this.object = object;
            this.aside = new File(incoming, "spark-" + ProcessHandle.current().pid() + "-" + UUID.randomUUID());
            this.file = new RandomAccessFile(aside, "rw");
            open.add(this);
        }

        public void write(int octet) throws IOException {
            write(new byte[] {(byte) octet}, 0, 1);
        }

        public synchronized void write(byte[] bytes, int start, int length) throws IOException {
            try {
                file.write(bytes, start, length);
            } catch (IOException error) {
                drop();  // a full disk, say: what comes after must not make an object with a hole
                throw error;
            }
        }

        public synchronized void close() throws IOException {
            if (lost) {
                throw new IOException(object + " was not written: a write has failed, or the file system was closed before the stream");
            }
            if (!open.remove(this)) {
                return;
            }
            try {
                file.setLength(file.length());  // changes no byte, but the time of change to now: S3's LastModified
                file.close();
                publish();
            } finally {
                discard();
            }
        }

        synchronized void drop() throws IOException {
            if (open.remove(this)) {
                lost = true;
                discard();
            }
        }

        private void publish() throws IOException {
            for (int attempt = 1;; attempt++) {
                object.getParentFile().mkdirs();
                try {
                    Files.move(aside.toPath(), object.toPath(), StandardCopyOption.ATOMIC_MOVE);
                    return;
                } catch (NoSuchFileException error) {
                    // S3 has no folders: the local AWS may just have removed this one with the last object in it.
                    if (attempt == ATTEMPTS || !aside.exists()) {
                        throw error;
                    }
                }
            }
        }

        private void discard() throws IOException {
            try {
                file.close();
            } finally {
                aside.delete();
            }
        }
    }
}
