// Random dm-io against a model of the disks: every kind of buffer, one to four regions anywhere on three disks, some of
// them with bad sectors, waited for or called back, on AHCI hardware.

import { PAGE_SIZE, Random, type Sleeps } from '../../src/kernel/index.ts';
import {
  BioVec,
  type ConstErrorBits,
  DM_IO_BIO,
  DM_IO_BVEC,
  DM_IO_KMEM,
  DM_IO_PAGE_LIST,
  DM_IO_VMA,
  type DmIoMemory,
  type DmIoRegion,
  EIO,
  ErrorBits,
  GFP_KERNEL,
  REQ_OP_READ,
  REQ_OP_WRITE,
} from '../../src/linux/index.ts';
import { assert, suite } from '../run/suite.ts';
import { bootDisks, bytesOf, pageList, type Rig, region, request, SECTOR } from './dm-io-rig.ts';
import { must } from './help.ts';

const test = suite('linux dm-io, by chance');

const DISKS = 3;
const SECTORS = 2048;
const MOST_SECTORS = 100;
const ROUNDS = 400;
/** Sectors of the last disk that cannot be read or written. */
const BAD = { first: 600, last: 700 };

interface Buffer {
  readonly mem: DmIoMemory;
  read(): Uint8Array;
  free(): void;
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** A buffer of a kind that chance decides, with these bytes. */
function* makeBuffer(rig: Rig, random: Random, bytes: Uint8Array): Sleeps<Buffer> {
  const { linux } = rig;
  const { memory, allocator } = linux.kernel;
  const offset = random.below(8) * SECTOR;
  switch (random.below(5)) {
    case 0: {
      const area = must(yield* linux.vmalloc(offset + bytes.length));
      linux.vwrite(bytes, area + offset, bytes.length);
      const read = (): Uint8Array => {
        const into = new Uint8Array(bytes.length);
        linux.vread(into, area + offset, into.length);
        return into;
      };
      return {
        mem: { type: DM_IO_VMA, ptr: { vma: area + offset } },
        read,
        free: () => linux.vfree(area),
      };
    }
    case 1: {
      const addr = must(yield* linux.kmalloc(offset + bytes.length, GFP_KERNEL));
      memory.writeBytes(addr + offset, bytes);
      return {
        mem: { type: DM_IO_KMEM, ptr: { addr: addr + offset } },
        read: () => memory.readBytes(addr + offset, bytes.length),
        free: () => linux.kfree(addr),
      };
    }
    default: {
      const { pages, pl, holes } = pageList(rig, bytes, offset);
      const mem = pagesAs(rig, random, pages, offset, pl);
      return {
        mem,
        read: () => bytesOf(rig, pages, bytes.length, offset),
        free: () => {
          if (mem.type === DM_IO_BIO) linux.bio_put(mem.ptr.bio);
          for (const page of [...pages, ...holes]) allocator.put(page);
        },
      };
    }
  }
}

type Pages = ReturnType<typeof pageList>['pages'];

/** The same pages as a list, as vecs that are cut anywhere, or as a bio that stands at the offset. */
function pagesAs(
  { linux }: Rig,
  random: Random,
  pages: Pages,
  offset: number,
  pl: ReturnType<typeof pageList>['pl'],
): DmIoMemory {
  const kind = random.below(3);
  if (kind === 0) return { type: DM_IO_PAGE_LIST, offset, ptr: { pl } };
  if (kind === 1) {
    const bio = must(linux.bio_kmalloc(GFP_KERNEL, pages.length));
    for (const page of pages) linux.bio_add_page(bio, page, PAGE_SIZE, 0);
    linux.bio_advance(bio, offset);
    return { type: DM_IO_BIO, ptr: { bio } };
  }
  const bvec: BioVec[] = [];
  for (const [i, page] of pages.entries()) {
    for (let at = i === 0 ? offset : 0; at < PAGE_SIZE; ) {
      const bytes = Math.min(PAGE_SIZE - at, (1 + random.below(8)) * SECTOR);
      bvec.push(Object.assign(new BioVec(), { bv_page: page, bv_offset: at, bv_len: bytes }));
      at += bytes;
    }
  }
  return { type: DM_IO_BVEC, ptr: { bvec } };
}

function touchesBad(rig: Rig, { bdev, sector, count }: DmIoRegion): boolean {
  return bdev === rig.bdevs[DISKS - 1] && sector <= BAD.last && BAD.first < sector + count && count > 0;
}

test(`${ROUNDS} transfers agree with the model, in bytes, in the regions that failed, and in what is left over`, async () => {
  const rig = await bootDisks(DISKS);
  const { linux, client, machine, bdevs } = rig;
  const random = new Random(4711);
  machine.addFault({ disk: must(rig.media[DISKS - 1]), kind: 'error', ...BAD });
  const model = bdevs.map(() => new Uint8Array(SECTORS * SECTOR));
  const modelOf = (where: DmIoRegion): Uint8Array =>
    must(model[bdevs.indexOf(where.bdev as (typeof bdevs)[number])]);
  const slabs = linux.slab_in_use();
  const pages = [...linux.kernel.allocator.usage()].sort();
  const seen = { failed: 0, waited: 0, read: 0 };

  function* round(): Sleeps<void> {
    const writes = random.below(2) === 0;
    const where = Array.from({ length: writes ? 1 + random.below(4) : 1 }, (_, i) => {
      // Two regions of one request never overlap: in what order they are written is nobody's promise.
      const count = random.below(MOST_SECTORS + 1);
      const from = i * (SECTORS / 4);
      return region(bdevs[random.below(DISKS)], from + random.below(SECTORS / 4 - count), count);
    });
    const longest = Math.max(...where.map(({ count }) => count), 1);
    const before = Uint8Array.from({ length: longest * SECTOR }, () => random.below(256));
    const buffer = yield* makeBuffer(rig, random, before);
    const bits = yield* transfer(writes ? REQ_OP_WRITE : REQ_OP_READ, buffer.mem, where);
    const failed = where.map((one) => touchesBad(rig, one));
    assert.equal(
      where.map((_, i) => bits.test(i)),
      failed,
    );
    if (writes) where.forEach((one, i) => void settle(one, before, failed[i] === true));
    else if (failed[0] === true)
      assert.ok(
        buffer
          .read()
          .subarray(0, must(where[0]).count * SECTOR)
          .every(isZero),
      );
    else assert.ok(same(buffer.read(), expected(must(where[0]), before)));
    if (failed.includes(true)) seen.failed++;
    if (!writes) seen.read++;
    buffer.free();
  }

  const isZero = (byte: number): boolean => byte === 0;

  /** What a buffer holds after a good read: the sectors of the disk, and what was behind them. */
  function expected(one: DmIoRegion, before: Uint8Array): Uint8Array {
    const after = before.slice();
    after.set(modelOf(one).subarray(one.sector * SECTOR, (one.sector + one.count) * SECTOR));
    return after;
  }

  /** Brings the model up to date; what a failed write left on the disk is the disk's to say. */
  function settle(one: DmIoRegion, data: Uint8Array, failed: boolean): void {
    const bytes = one.count * SECTOR;
    const disk = must(rig.media[bdevs.indexOf(one.bdev as (typeof bdevs)[number])]);
    modelOf(one).set(
      failed ? disk.read(one.sector * SECTOR, bytes) : data.subarray(0, bytes),
      one.sector * SECTOR,
    );
  }

  function* transfer(op: number, mem: DmIoMemory, where: DmIoRegion[]): Sleeps<ConstErrorBits> {
    if (random.below(2) === 0) {
      const bits = new ErrorBits();
      const result = yield* linux.dm_io(request(client, op, mem), where.length, where, bits);
      assert.is(result, bits.any ? -EIO : 0);
      seen.waited++;
      return bits;
    }
    const told: ConstErrorBits[] = [];
    const fn = (bits: ConstErrorBits): void => void told.push(bits);
    assert.is(yield* linux.dm_io(request(client, op, mem, fn), where.length, where, null), 0);
    while (told.length === 0) yield* linux.kernel.scheduler.delay(10_000);
    yield* linux.kernel.scheduler.delay(1e6);
    assert.is(told.length, 1);
    return must(told[0]);
  }

  rig.run(function* () {
    for (let i = 0; i < ROUNDS; i++) yield* round();
  });
  for (const [i, medium] of rig.media.entries()) {
    assert.ok(same(medium.read(0, SECTORS * SECTOR), must(model[i])), `disk ${i} differs`);
  }
  assert.equal(machine.guard.findings(), []);
  assert.equal(linux.slab_in_use(), slabs);
  assert.equal([...linux.kernel.allocator.usage()].sort(), pages);
  assert.ok(seen.failed > 5 && seen.waited > 100 && seen.read > 100, JSON.stringify(seen));
});
