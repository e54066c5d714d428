// The table of internal snapshots: read to know which clusters it takes. Their content is protected by
// refcounts: what a snapshot shares with the disk is copied before it is written.
//
// [1] QEMU, docs/interop/qcow2: "Snapshots".

import { read64 } from '../endian.ts';
import { type Header, L1_MAX } from './header.ts';
import type { Space } from './space.ts';

/** Bytes of an entry before its extra data, id and name [1]. */
const ENTRY_BYTES = 40;
const EXTRA_MAX = 1024;

/** Claims the snapshot table and the L1 tables of the snapshots. Throws MediumError where one is misplaced. */
export function claimSnapshots(space: Space, header: Header): void {
  if (header.snapshots === 0) return;
  const { snapshotsOffset: start } = header;
  space.checkCluster(start, 64, 'snapshots_offset');
  let at = start;
  const entry = new DataView(new ArrayBuffer(ENTRY_BYTES));
  const tables: { offset: number; length: number; at: number }[] = [];
  for (let i = 0; i < header.snapshots; i++) {
    if (at + ENTRY_BYTES > space.bytes) {
      throw space.error(at, 'snapshot', `the table of ${header.snapshots} ends behind the file`);
    }
    space.readv(at, [new Uint8Array(entry.buffer)]);
    const length = entry.getUint32(8) * 8;
    const extra = entry.getUint32(36);
    if (length > L1_MAX) throw space.error(at + 8, 'snapshot L1 size', `${length / 8} entries are too many`);
    if (extra > EXTRA_MAX) throw space.error(at + 36, 'snapshot extra data', `${extra} bytes are too many`);
    tables.push({ offset: read64(entry, 0), length, at });
    const bytes = ENTRY_BYTES + extra + entry.getUint16(12) + entry.getUint16(14);
    at += Math.ceil(bytes / 8) * 8;
  }
  space.claim(start, at - start, 'the snapshot table', 64, 'snapshots_offset');
  for (const { offset, length, at } of tables) {
    if (length === 0) continue;
    space.checkCluster(offset, at, 'snapshot L1 offset');
    space.claim(offset, length, "a snapshot's L1 table", at, 'snapshot L1 offset');
  }
}
