// Partitions (block/partition-generic.c, block/partitions/msdos.c of 4.8): parts of a disk that bios can name, and the
// table of PCs at the disk's beginning that says where they are.
//
// The table: four entries of 16 bytes at byte 446 of the first sector, 55h AAh at its end. An entry's type stands at its
// byte 4, its first sector and its sectors at 8 and 12. An extended partition holds a chain of such tables, whose first
// entry is a logical partition, counted from the table, and whose second the next table, counted from the chain's start.

import { KernelBug, type Sleeps } from '../kernel/index.ts';
import { REQ_OP_READ } from './bio-struct.ts';
import { type Gendisk, Partition } from './blkdev.ts';
import { EBUSY, EINVAL, EIO, ENOMEM, ENXIO, type ErrPtr, IS_ERR } from './errno.ts';
import { GFP_KERNEL } from './gfp.ts';
import type { Linux } from './kernel.ts';

const SECTOR = 512;
const TABLE_AT = 446;
const ENTRY_BYTES = 16;
const PRIMARY = 4;
const SIGNATURE_AT = 510;
const SIGNATURE = 0xaa55;
const TYPES_EXTENDED = [0x05, 0x0f, 0x85];
/** Partitions of a disk that Linux has numbers for; it bounds a chain that loops, too. */
export const DISK_MAX_PARTS = 256;

interface Entry {
  readonly type: number;
  readonly start: number;
  readonly sectors: number;
}

export function createPartition(k: Linux) {
  /** The first 512 bytes of a logical block; the block's number is in its own unit. */
  function* readTable(disk: Gendisk, block: number): Sleeps<ErrPtr<Uint8Array>> {
    const bytes = disk.queue.limits.logical_block_size;
    const page = yield* k.pageAlloc.alloc_page(GFP_KERNEL);
    if (page === null) return -ENOMEM;
    const bio = yield* k.bioSet.bio_alloc(GFP_KERNEL, 1);
    if (bio === null) return -ENOMEM;
    bio.bi_bdev = disk.part0;
    bio.bi_op = REQ_OP_READ;
    bio.bi_iter.bi_sector = block * (bytes / SECTOR);
    k.bioData.bio_add_page(bio, page, bytes, 0);
    const error = yield* k.submit.submit_bio_wait(bio);
    const table = error === 0 ? k.memory.readBytes(page.phys, SECTOR) : error;
    k.bio.bio_put(bio);
    k.pageAlloc.__free_page(page);
    return table;
  }

  /** Reads the chain of tables in an extended partition; entries that do not fit in it are left out. */
  function* readLogical(disk: Gendisk, extended: Entry): Sleeps<ErrPtr<Entry[]>> {
    const found: Entry[] = [];
    let at = extended.start;
    for (let tables = 0; tables < DISK_MAX_PARTS; tables++) {
      const table = yield* readTable(disk, at);
      if (IS_ERR(table)) return table;
      if (!hasSignature(table)) break;
      const [own, next] = entriesOf(table);
      if (own !== undefined && own.sectors > 0 && !isExtended(own)) {
        const entry = { ...own, start: at + own.start };
        if (inside(entry, extended)) found.push(entry);
      }
      // A chain that goes backwards has a loop.
      const following = extended.start + (next?.start ?? 0);
      if (next === undefined || !isExtended(next) || following <= at) break;
      at = following;
    }
    return found;
  }

  const api = {
    /**
     * Makes a partition of `len` sectors of 512 bytes from `start` on. -EINVAL for a number that there is not or a part
     * that the disk does not have, -EBUSY when the number is in use.
     */
    add_partition(disk: Gendisk, partno: number, start: number, len: number): ErrPtr<Partition> {
      const numbered = Number.isInteger(partno) && partno > 0 && partno < DISK_MAX_PARTS;
      if (!numbered || !(start >= 0) || !(len > 0) || !Number.isSafeInteger(start + len)) return -EINVAL;
      const { nr_sects } = disk.part0;
      if (nr_sects > 0 && start + len > nr_sects) return -EINVAL;
      if (disk.part_tbl.has(partno)) return -EBUSY;
      const part = new Partition(disk, partno, start, len);
      disk.part_tbl.set(partno, part);
      return part;
    },

    /** Takes a partition away; bios for it fail from now on. -ENXIO when there is none. */
    delete_partition(disk: Gendisk, partno: number): number {
      const part = disk.part_tbl.get(partno);
      if (part === undefined) return -ENXIO;
      part.live = false;
      disk.part_tbl.delete(partno);
      return 0;
    },

    /** A partition by its number; 0 is the whole disk, null when there is none. */
    disk_get_part(disk: Gendisk, partno: number): Partition | Gendisk['part0'] | null {
      return partno === 0 ? disk.part0 : (disk.part_tbl.get(partno) ?? null);
    },

    /**
     * Reads the table of PCs and makes its partitions instead of those that there were: 1 to 4 are those of the first
     * table, from 5 on those of the chain. What the disk does not have is cut off or left out, with a warning. A disk
     * without a table has none. How many there are, or -EIO; then nothing has changed. Process context.
     */
    *rescan_partitions(disk: Gendisk): Sleeps<number> {
      if (disk.queue.limits.logical_block_size > 4096)
        throw new KernelBug('partition', 'logical blocks of more than a page', disk.disk_name);
      const table = yield* readTable(disk, 0);
      if (IS_ERR(table)) return -EIO;
      const wanted = new Map<number, Entry>();
      let number = PRIMARY;
      for (const [i, entry] of (hasSignature(table) ? entriesOf(table) : []).entries()) {
        if (entry.type === 0 || entry.sectors === 0) continue;
        wanted.set(i + 1, entry);
        if (!isExtended(entry)) continue;
        const logical = yield* readLogical(disk, entry);
        if (IS_ERR(logical)) return -EIO;
        for (const one of logical) wanted.set(++number, one);
      }
      for (const partno of [...disk.part_tbl.keys()]) api.delete_partition(disk, partno);
      for (const [partno, entry] of wanted) addFound(disk, partno, entry);
      return disk.part_tbl.size;
    },
  };

  /** Makes a partition that a table names. An extended one is as large as a boot loader needs, as Linux has it. */
  function addFound(disk: Gendisk, partno: number, entry: Entry): void {
    const unit = disk.queue.limits.logical_block_size / SECTOR;
    const start = entry.start * unit;
    const asked = isExtended(entry) ? Math.min(entry.sectors * unit, 2) : entry.sectors * unit;
    const len = Math.min(asked, disk.part0.nr_sects - start);
    const name = `${disk.disk_name}, partition ${partno}`;
    if (len < asked) k.warnings.warn('partition', 'reaches beyond the end of the disk', name);
    if (len > 0) api.add_partition(disk, partno, start, len);
  }

  return api;
}

function hasSignature(table: Uint8Array): boolean {
  return ((table[SIGNATURE_AT] ?? 0) | ((table[SIGNATURE_AT + 1] ?? 0) << 8)) === SIGNATURE;
}

function entriesOf(table: Uint8Array): Entry[] {
  return Array.from({ length: PRIMARY }, (_, i) => {
    const at = TABLE_AT + i * ENTRY_BYTES;
    return { type: table[at + 4] ?? 0, start: word(table, at + 8), sectors: word(table, at + 12) };
  });
}

function word(table: Uint8Array, at: number): number {
  const high = ((table[at + 2] ?? 0) << 16) | ((table[at + 3] ?? 0) << 24);
  return ((table[at] ?? 0) | ((table[at + 1] ?? 0) << 8) | high) >>> 0;
}

function isExtended(entry: Entry): boolean {
  return TYPES_EXTENDED.includes(entry.type);
}

function inside(entry: Entry, outer: Entry): boolean {
  return entry.start >= outer.start && entry.start + entry.sectors <= outer.start + outer.sectors;
}
