// The state of a running server as bytes, for a second process that was started with the same devices and the same images:
// what the machine's snapshot holds, and what lies around it.

import { Snapshot, SnapshotError } from '../machine/index.ts';
import { QtestError } from './errors.ts';
import type { HostState, System } from './system.ts';

/** "BKQT" in a stream. */
const MAGIC = 0x54514b42;
const VERSION = 2;
/** Magic, version, bytes of the header that follows. */
const HEAD_BYTES = 12;
const HEADER_MAX = 2 ** 24;

interface Header {
  /** The machine was running: it runs on there. */
  readonly running: boolean;
  readonly host: HostState;
}

/** The state; `resumes`: the machine runs on where it goes to. */
export function packState(system: System, resumes: boolean): Uint8Array {
  const header = new TextEncoder().encode(
    JSON.stringify({ running: resumes, host: system.hostState } satisfies Header),
  );
  const snapshot = system.machine.save().toBytes();
  const bytes = new Uint8Array(HEAD_BYTES + header.length + snapshot.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, VERSION, true);
  view.setUint32(8, header.length, true);
  bytes.set(header, HEAD_BYTES);
  bytes.set(snapshot, HEAD_BYTES + header.length);
  return bytes;
}

/**
 * Takes over the state that another process packed. Returns whether the machine runs on. Throws QtestError where the bytes
 * are not such a state, or are of a machine of other parts.
 */
export async function unpackState(system: System, bytes: Uint8Array): Promise<boolean> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const isOurs =
    bytes.length >= HEAD_BYTES && view.getUint32(0, true) === MAGIC && view.getUint32(4, true) === VERSION;
  const length = isOurs ? view.getUint32(8, true) : HEADER_MAX;
  if (length >= HEADER_MAX || HEAD_BYTES + length > bytes.length)
    throw new QtestError('the incoming state is not one of this program');
  const header = readHeader(bytes.subarray(HEAD_BYTES, HEAD_BYTES + length));
  try {
    await system.graph.takeBack();
    system.machine.restore(Snapshot.fromBytes(bytes.subarray(HEAD_BYTES + length)));
  } catch (error) {
    if (!(error instanceof SnapshotError)) throw error;
    throw new QtestError(`the incoming state does not fit: ${error.message}`);
  }
  system.hostState = header.host;
  return header.running;
}

function readHeader(bytes: Uint8Array): Header {
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as Header;
  } catch (error) {
    throw new QtestError(`the incoming state is damaged: ${(error as Error).message}`);
  }
}
