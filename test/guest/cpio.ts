// The archive that Linux unpacks into its first file system.
// Specification: Linux Documentation/driver-api/early-userspace/buffer-format.rst ("newc").

/** A file, folder, symbolic link or character device; `mode` has the type's bits, as stat() gives them. */
export interface ArchiveEntry {
  readonly path: string;
  readonly mode: number;
  readonly data?: Uint8Array;
  /** Major and minor number of a device. */
  readonly device?: readonly [major: number, minor: number];
}

const MAGIC = '070701';
const TRAILER = 'TRAILER!!!';
const encoder = new TextEncoder();

/** An uncompressed archive with the entries in this order; folders before what is in them. */
export function cpioArchive(entries: readonly ArchiveEntry[]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const [i, entry] of [...entries, { path: TRAILER, mode: 0 }].entries())
    parts.push(...record(i + 1, entry));
  const bytes = parts.reduce((sum, part) => sum + part.length, 0);
  const archive = new Uint8Array(bytes);
  let at = 0;
  for (const part of parts) {
    archive.set(part, at);
    at += part.length;
  }
  return archive;
}

function record(inode: number, { path, mode, data, device }: ArchiveEntry): Uint8Array[] {
  const size = data?.length ?? 0;
  const [major, minor] = device ?? [0, 0];
  // inode, mode, uid, gid, links, time, size, device of the file system (2), device (2), length of the name, checksum
  const fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, major, minor, path.length + 1, 0];
  const header = MAGIC + fields.map((field) => field.toString(16).padStart(8, '0')).join('');
  const name = padded(encoder.encode(`${header}${path}\0`));
  return data === undefined ? [name] : [name, padded(data)];
}

function padded(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  whole.set(bytes);
  return whole;
}
