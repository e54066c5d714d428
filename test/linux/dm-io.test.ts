import { PAGE_SIZE, type Sleeps, Work } from '../../src/kernel/index.ts';
import {
  type Bio,
  BioVec,
  type BlockDevice,
  type ConstErrorBits,
  DM_IO_BIO,
  DM_IO_BVEC,
  DM_IO_KMEM,
  DM_IO_PAGE_LIST,
  DM_IO_VMA,
  type DmIoMemory,
  EINVAL,
  EIO,
  ErrorBits,
  GFP_KERNEL,
  IS_ERR,
  REQ_FUA,
  REQ_OP_DISCARD,
  REQ_OP_READ,
  REQ_OP_WRITE,
  REQ_OP_WRITE_SAME,
  REQ_PREFLUSH,
  REQ_SYNC,
} from '../../src/linux/index.ts';
import { assert, suite } from '../run/suite.ts';
import { TestDevice } from './device.ts';
import { bootDisks, bytesOf, pageList, pattern, type Rig, region, request, SECTOR } from './dm-io-rig.ts';
import { assertBug, assertDeadlock, must } from './help.ts';

const test = suite('linux dm-io');

/** A bio as a device got it. */
interface Seen {
  readonly sector: number;
  readonly bytes: number;
  readonly vecs: number;
  readonly op: number;
  readonly flags: number;
}

/** A device that writes down what it gets and ends it as `end` says; by default at once, without error. */
function recorder(rig: Rig, end: (bio: Bio) => void = (bio) => rig.linux.bio_endio(bio)) {
  const device = Object.assign(new TestDevice('recorder'), { got: [] as Seen[] });
  device.q.make_request_fn = function* (_q, bio) {
    const { bi_sector, bi_size } = bio.bi_iter;
    device.got.push({
      sector: bi_sector,
      bytes: bi_size,
      vecs: bio.bi_vcnt,
      op: bio.bi_op,
      flags: bio.bi_opf,
    });
    end(bio);
  };
  return device;
}

function listOf(rig: Rig, bytes: number, seed = 1): DmIoMemory {
  return { type: DM_IO_PAGE_LIST, offset: 0, ptr: { pl: pageList(rig, pattern(bytes, seed)).pl } };
}

/** Runs a synchronous request; its result and the regions that failed. */
function sync(
  rig: Rig,
  op: number,
  mem: DmIoMemory,
  regions: ReturnType<typeof region>[],
  flags = 0,
): [number, number[]] {
  const bits = new ErrorBits();
  bits.set(63); // must be overwritten
  const req = { ...request(rig.client, op, mem), bi_op_flags: flags };
  const result = rig.run(() => rig.linux.dm_io(req, regions.length, regions, bits));
  return [result, bits.regions()];
}

test('DMIO-01 a read of two regions is refused: nothing is submitted', async () => {
  const rig = await bootDisks(1);
  const device = recorder(rig);
  const where = [region(device, 0, 8), region(device, 8, 8)];
  const bits = new ErrorBits();
  bits.set(5);
  const mem = listOf(rig, PAGE_SIZE);
  assert.is(
    rig.run(() => rig.linux.dm_io(request(rig.client, REQ_OP_READ, mem), 2, where, bits)),
    -EIO,
  );
  assert.equal(bits.regions(), [5]);
  const told: [number[], unknown][] = [];
  const fn = (failed: ConstErrorBits, context: unknown): void => void told.push([failed.regions(), context]);
  const req = request(rig.client, REQ_OP_READ, mem, fn, 'me');
  assert.is(
    rig.run(() => rig.linux.dm_io(req, 2, where, null)),
    -EIO,
  );
  assert.equal([told, device.got], [[[[0], 'me']], []]);
  assert.is(rig.linux.kernel.warnings.all.filter(({ rule }) => rule === 'DMIO-01').length, 1);
});

test('DMIO-02 the new interface looks at the direction only: a write with flags goes to two regions', async () => {
  const rig = await bootDisks(1);
  const device = recorder(rig);
  device.q.wc = true;
  const where = [region(device, 0, 8), region(device, 8, 8)];
  assert.equal(sync(rig, REQ_OP_WRITE, listOf(rig, PAGE_SIZE), where, REQ_FUA), [0, []]);
  assert.equal(
    device.got.map(({ flags }) => flags),
    [REQ_FUA | REQ_SYNC, REQ_FUA | REQ_SYNC],
  );
});

test('DMIO-03 64 regions, not 65; and none is nothing to do', async () => {
  const rig = await bootDisks(1);
  const device = recorder(rig);
  const mem = listOf(rig, PAGE_SIZE);
  const where = Array.from({ length: 65 }, (_, i) => region(device, i, 1));
  assertBug('DMIO-03', () => void sync(rig, REQ_OP_WRITE, mem, where));
  assert.equal(sync(rig, REQ_OP_WRITE, mem, where.slice(0, 64)), [0, []]);
  assert.is(device.got.length, 64);
  assert.equal(sync(rig, REQ_OP_WRITE, mem, []), [0, []]);
  let told = '';
  let returned = false;
  const fn = (bits: ConstErrorBits): void => {
    told = `${bits.any} ${returned}`;
  };
  rig.run(function* () {
    assert.is(yield* rig.linux.dm_io(request(rig.client, REQ_OP_WRITE, mem, fn), 0, [], null), 0);
    returned = true;
  });
  assert.is(told, 'false false');
});

test('DMIO-04 every region gets the data from its beginning, as much as it takes', async () => {
  const rig = await bootDisks(3);
  const data = pattern(5 * PAGE_SIZE, 9);
  const { pl } = pageList(rig, data);
  const mem: DmIoMemory = { type: DM_IO_PAGE_LIST, offset: 0, ptr: { pl } };
  const where = [region(rig.bdevs[0], 0, 40), region(rig.bdevs[1], 100, 8), region(rig.bdevs[2], 7, 3)];
  assert.equal(sync(rig, REQ_OP_WRITE, mem, where), [0, []]);
  for (const [i, { sector, count }] of where.entries()) {
    const medium = must(rig.media[i]);
    assert.equal(medium.read(sector * SECTOR, count * SECTOR), data.subarray(0, count * SECTOR));
    assert.ok(medium.read((sector + count) * SECTOR, SECTOR).every((byte) => byte === 0));
  }
});

test('DMIO-05 an empty region is skipped, but for a flush, which goes to each', async () => {
  const rig = await bootDisks(1);
  const device = recorder(rig);
  device.q.wc = true;
  const mem = listOf(rig, 300 * PAGE_SIZE);
  assert.equal(sync(rig, REQ_OP_WRITE, mem, [region(device, 4, 0), region(device, 8, 8)]), [0, []]);
  assert.equal(
    device.got.map(({ sector, bytes }) => [sector, bytes]),
    [[8, 4096]],
  );
  device.got.length = 0;
  const where = [region(device, 4, 0), region(device, 8, 300 * 8)];
  assert.equal(sync(rig, REQ_OP_WRITE, mem, where, REQ_PREFLUSH), [0, []]);
  assert.equal(
    device.got.map(({ sector, bytes, flags }) => [sector, bytes, flags & REQ_PREFLUSH]),
    [
      [4, 0, REQ_PREFLUSH],
      [8, 256 * 4096, REQ_PREFLUSH],
      [8 + 256 * 8, 44 * 4096, REQ_PREFLUSH],
    ],
  );
  // And on real hardware, whose disk has a write cache.
  assert.equal(sync(rig, REQ_OP_WRITE, mem, [region(rig.bdevs[0], 0, 0)], REQ_PREFLUSH), [0, []]);
});

/** Buffers of every kind that hold `bytes`, and how to read them again. */
function* buffers(rig: Rig, bytes: Uint8Array): Sleeps<[string, DmIoMemory, () => Uint8Array][]> {
  const { linux } = rig;
  const { memory } = linux.kernel;
  const offset = 1536;
  const list = pageList(rig, bytes, offset);
  const { pages } = pageList(rig, bytes, 512);
  const vecs = pages.map((page, i) => {
    const from = i === 0 ? 512 : 0;
    const left = bytes.length - i * PAGE_SIZE + (i === 0 ? 0 : 512);
    return Object.assign(new BioVec(), {
      bv_page: page,
      bv_offset: from,
      bv_len: Math.min(PAGE_SIZE - from, left),
    });
  });
  const whole = pageList(rig, bytes, 1024);
  const bio = must(linux.bio_kmalloc(GFP_KERNEL, 1 + whole.pages.length));
  for (const page of [must(pages[0]), ...whole.pages]) linux.bio_add_page(bio, page, PAGE_SIZE, 0);
  linux.bio_advance(bio, PAGE_SIZE + 1024); // the bio's position is where the data begins
  const area = must(yield* linux.vmalloc(bytes.length + 2 * PAGE_SIZE));
  linux.vwrite(bytes, area + 2560, bytes.length);
  const kmem = must(yield* linux.kmalloc(bytes.length + 512, GFP_KERNEL));
  memory.writeBytes(kmem + 512, bytes);
  const back = (from: readonly (typeof pages)[number][], at: number) => () =>
    bytesOf(rig, from, bytes.length, at);
  return [
    ['page list', { type: DM_IO_PAGE_LIST, offset, ptr: { pl: list.pl } }, () => back(list.pages, offset)()],
    ['bvec', { type: DM_IO_BVEC, ptr: { bvec: vecs } }, () => back(pages, 512)()],
    ['bio', { type: DM_IO_BIO, ptr: { bio } }, () => back(whole.pages, 1024)()],
    [
      'vmalloc',
      { type: DM_IO_VMA, ptr: { vma: area + 2560 } },
      () => {
        const into = new Uint8Array(bytes.length);
        assert.is(linux.vread(into, area + 2560, into.length), into.length);
        return into;
      },
    ],
    [
      'kmem',
      { type: DM_IO_KMEM, ptr: { addr: kmem + 512 } },
      () => memory.readBytes(kmem + 512, bytes.length),
    ],
  ];
}

test('DMIO-06 every kind of buffer, from inside of a page on, is written and read back', async () => {
  const rig = await bootDisks(1);
  const { linux, bdevs, media } = rig;
  const before = pattern(3 * PAGE_SIZE, 4);
  const after = pattern(3 * PAGE_SIZE, 77);
  const all = rig.run(() => buffers(rig, before));
  for (const [i, [name, mem, read]] of all.entries()) {
    const where = [region(bdevs[0], 1 + i * 32, 24)];
    assert.equal(sync(rig, REQ_OP_WRITE, mem, where), [0, []], name);
    assert.equal(must(media[0]).read((1 + i * 32) * SECTOR, before.length), before, name);
    must(media[0]).write((1 + i * 32) * SECTOR, after);
    assert.equal(sync(rig, REQ_OP_READ, mem, where), [0, []], name);
    assert.equal(read(), after, name);
  }
  assert.equal(rig.machine.guard.findings(), []);
  assert.equal(linux.kernel.warnings.all, []);
});

test('DMIO-06 a wrong offset, and a buffer that is too short, are bugs of the caller', async () => {
  const rig = await bootDisks(1);
  const device = recorder(rig);
  const { pl } = pageList(rig, pattern(PAGE_SIZE, 1));
  for (const offset of [100, -512, PAGE_SIZE]) {
    const mem: DmIoMemory = { type: DM_IO_PAGE_LIST, offset, ptr: { pl } };
    assertBug('DMIO-06', () => void sync(rig, REQ_OP_WRITE, mem, [region(device, 0, 1)]));
  }
  const short: DmIoMemory = { type: DM_IO_PAGE_LIST, offset: 0, ptr: { pl } };
  assertBug('DMIO-06', () => void sync(rig, REQ_OP_WRITE, short, [region(device, 0, 9)]));
  const odd = Object.assign(new BioVec(), { bv_page: pl.page, bv_len: 100 });
  const vecs: DmIoMemory = {
    type: DM_IO_BVEC,
    ptr: { bvec: [odd, Object.assign(new BioVec(), odd), odd, odd] },
  };
  assertBug('DMIO-06', () => void sync(rig, REQ_OP_WRITE, vecs, [region(device, 0, 1)]));
});

test('DMIO-07 a region becomes bios of up to 256 vecs on consecutive sectors', async () => {
  const rig = await bootDisks(1);
  let open = 0;
  let most = 0;
  const ends: Bio[] = [];
  const device = recorder(rig, (bio) => {
    most = Math.max(most, ++open);
    ends.push(bio);
  });
  const mem = listOf(rig, 600 * PAGE_SIZE);
  const told: number[][] = [];
  const fn = (bits: ConstErrorBits): void => void told.push(bits.regions());
  const where = [region(device, 5, 600 * 8), region(device, 9000, 8)];
  rig.run(function* () {
    assert.is(yield* rig.linux.dm_io(request(rig.client, REQ_OP_WRITE, mem, fn), 2, where, null), 0);
  });
  assert.equal(
    device.got.map(({ sector, bytes, vecs }) => [sector, bytes / SECTOR, vecs]),
    [
      [5, 2048, 256],
      [2053, 2048, 256],
      [4101, 704, 88],
      [9000, 8, 1],
    ],
  );
  // One bio of a region that fails is enough; the request ends with the last bio, whichever that is.
  rig.run(function* () {
    for (const [i, bio] of [...ends].reverse().entries()) {
      assert.equal(told, []);
      bio.bi_error = i === 2 ? -EIO : 0;
      rig.linux.bio_endio(bio);
    }
  });
  assert.equal(told, [[0]]);
});

test('DMIO-08 a synchronous request: SYNC bios, -EIO and a bit for each region that failed', async () => {
  const rig = await bootDisks(3);
  const { machine, bdevs, media } = rig;
  machine.addFault({ disk: must(media[1]), kind: 'error', operations: ['write'] });
  const data = pattern(2 * PAGE_SIZE, 3);
  const mem: DmIoMemory = { type: DM_IO_PAGE_LIST, offset: 0, ptr: { pl: pageList(rig, data).pl } };
  const where = [0, 1, 2].map((i) => region(bdevs[i], 64, 16));
  const flags: number[] = [];
  rig.linux.kernel.trace.listen({ block_bio_queue: (_q, bio) => void flags.push(bio.bi_opf & REQ_SYNC) });
  assert.equal(sync(rig, REQ_OP_WRITE, mem, where), [-EIO, [1]]);
  assert.equal(flags, [REQ_SYNC, REQ_SYNC, REQ_SYNC]);
  assert.equal(must(media[2]).read(64 * SECTOR, data.length), data);
  // Without a place for the bits only the result is left.
  const req = request(rig.client, REQ_OP_WRITE, mem);
  assert.is(
    rig.run(() => rig.linux.dm_io(req, 3, where, null)),
    -EIO,
  );
  assert.equal(sync(rig, REQ_OP_WRITE, mem, [region(bdevs[0], 64, 16)]), [0, []]);
});

test('DMIO-09 an asynchronous request returns 0 and tells once, from the interrupt; more may follow from there', async () => {
  const rig = await bootDisks(2);
  const { linux, bdevs, media, machine } = rig;
  machine.addFault({ disk: must(media[0]), kind: 'error', operations: ['write'] });
  const mem = listOf(rig, PAGE_SIZE);
  const events: string[] = [];
  const second = (bits: ConstErrorBits): void => {
    events.push(`second ${bits.regions()}`);
  };
  const first = (bits: ConstErrorBits, context: unknown): void => {
    const { cpu } = linux.kernel;
    events.push(
      `first ${bits.regions()} ${String(context)} ${cpu.inInterrupt} ${rig.client.pool.outstanding}`,
    );
    const req = request(rig.client, REQ_OP_WRITE, mem, second);
    linux.kernel.system_wq.queue(
      new Work('follow-up', function* () {
        assert.is(yield* linux.dm_io(req, 1, [region(bdevs[1], 0, 8)], null), 0);
      }),
    );
  };
  rig.run(function* () {
    const where = [region(bdevs[0], 0, 8), region(bdevs[1], 0, 8)];
    assert.is(yield* linux.dm_io(request(rig.client, REQ_OP_WRITE, mem, first, 'ctx'), 2, where, null), 0);
    events.push('returned');
  });
  linux.kernel.scheduler.run();
  assert.equal(events, ['returned', 'first 0 ctx true 0', 'second ']);
});

test('DMIO-09 who waits for the last bio is told once, also when that failed', async () => {
  const rig = await bootDisks(1);
  const held: Bio[] = [];
  const device = recorder(rig, (bio) => void held.push(bio));
  const told: number[][] = [];
  const fn = (bits: ConstErrorBits): void => void told.push(bits.regions());
  rig.run(function* () {
    const req = request(rig.client, REQ_OP_WRITE, listOf(rig, PAGE_SIZE), fn);
    assert.is(yield* rig.linux.dm_io(req, 2, [region(device, 0, 8), region(device, 8, 8)], null), 0);
  });
  const [first, last] = held as [Bio, Bio];
  rig.linux.bio_endio(first);
  assert.equal(told, []);
  rig.linux.bio_io_error(last);
  assert.equal(told, [[1]]);
});

test('DMIO-09 what ends before dm_io() returns is told before it returns', async () => {
  const rig = await bootDisks(1);
  const device = recorder(rig, (bio) => rig.linux.bio_io_error(bio));
  const told: number[][] = [];
  const fn = (bits: ConstErrorBits): void => void told.push(bits.regions());
  rig.run(function* () {
    const where = [region(device, 0, 8), region(device, 8, 8)];
    const req = request(rig.client, REQ_OP_WRITE, listOf(rig, PAGE_SIZE), fn);
    assert.is(yield* rig.linux.dm_io(req, 2, where, null), 0);
    assert.equal(told, [[0, 1]]);
    assert.ok(device.got.every(({ flags }) => (flags & REQ_SYNC) === 0));
  });
});

test('DMIO-10 the memory of a failed read is zeroed, all of it; that of the others is as read', async () => {
  const rig = await bootDisks(1);
  const { machine, bdevs, media } = rig;
  const disk = must(media[0]);
  const onDisk = pattern(2 ** 20, 5);
  disk.write(0, onDisk);
  // Two bios: 1 MiB less a page of 256 vecs cannot be, so that the second one begins at sector 2040.
  const small = must(rig.host.disks[0]).queue;
  rig.linux.blk_queue_max_hw_sectors(small, 64); // and each becomes many requests
  machine.addFault({ disk, kind: 'error', operations: ['read'], first: 70, last: 70 });
  const { pages, pl } = pageList(rig, pattern(16 * PAGE_SIZE, 99));
  const mem: DmIoMemory = { type: DM_IO_PAGE_LIST, offset: 0, ptr: { pl } };
  assert.equal(sync(rig, REQ_OP_READ, mem, [region(bdevs[0], 0, 128)]), [-EIO, [0]]);
  // The first half was read well by a request of its own, and yet it is a part of the bio that failed.
  assert.ok(bytesOf(rig, pages, 16 * PAGE_SIZE).every((byte) => byte === 0));

  const far = recorder(rig, (bio) => {
    for (let i = 0; i < bio.bi_vcnt; i++) {
      const vec = must(bio.bi_io_vec?.[i]);
      rig.linux.kernel.memory.fill(must(vec.bv_page).phys, 7, PAGE_SIZE);
    }
    if (bio.bi_iter.bi_sector > 0) rig.linux.bio_io_error(bio);
    else rig.linux.bio_endio(bio);
  });
  const large = pageList(rig, pattern(260 * PAGE_SIZE, 98));
  const many: DmIoMemory = { type: DM_IO_PAGE_LIST, offset: 0, ptr: { pl: large.pl } };
  assert.equal(sync(rig, REQ_OP_READ, many, [region(far, 0, 260 * 8)]), [-EIO, [0]]);
  const got = bytesOf(rig, large.pages, 260 * PAGE_SIZE);
  assert.ok(got.subarray(0, 256 * PAGE_SIZE).every((byte) => byte === 7));
  assert.ok(got.subarray(256 * PAGE_SIZE).every((byte) => byte === 0));
});

test('DMIO-11 a discard that a device does not know fails that region only; others are cut to its maximum', async () => {
  const rig = await bootDisks(1);
  const without = recorder(rig);
  const withDiscard = recorder(rig);
  withDiscard.q.discard = true;
  withDiscard.q.limits.max_discard_sectors = 100;
  const mem = listOf(rig, PAGE_SIZE);
  const where = [region(without, 0, 250), region(withDiscard, 10, 250)];
  assert.equal(sync(rig, REQ_OP_DISCARD, mem, where), [-EIO, [0]]);
  assert.equal(without.got, []);
  assert.equal(
    withDiscard.got.map(({ sector, bytes, vecs }) => [sector, bytes / SECTOR, vecs]),
    [
      [10, 100, 0],
      [110, 100, 0],
      [210, 50, 0],
    ],
  );
});

test('DMIO-11 write-same sends one logical block of the first page, as often as the maximum asks', async () => {
  const rig = await bootDisks(1);
  const blocks: string[] = [];
  const { pages, pl } = pageList(rig, pattern(2 * PAGE_SIZE, 8));
  const device = recorder(rig, (bio) => {
    const vec = must(bio.bi_io_vec?.[0]);
    blocks.push(`${vec.bv_page === pages[0]} ${vec.bv_offset} ${vec.bv_len}`);
    rig.linux.bio_endio(bio);
  });
  device.q.limits.max_write_same_sectors = 64;
  device.q.limits.logical_block_size = 1024;
  const mem: DmIoMemory = { type: DM_IO_PAGE_LIST, offset: 1024, ptr: { pl } };
  assert.equal(sync(rig, REQ_OP_WRITE_SAME, mem, [region(device, 0, 96)]), [0, []]);
  assert.equal(
    device.got.map(({ sector, bytes, vecs }) => [sector, bytes / SECTOR, vecs]),
    [
      [0, 64, 1],
      [64, 32, 1],
    ],
  );
  assert.equal(blocks, ['true 1024 1024', 'true 1024 1024']);
});

test('DMIO-12 a kind of memory that nobody knows is -EINVAL, and nobody is told', async () => {
  const rig = await bootDisks(1);
  const device = recorder(rig);
  const mem = { type: 9, ptr: {} } as unknown as DmIoMemory;
  let told = 0;
  const fn = (): void => void told++;
  for (const notify of [null, fn]) {
    const req = request(rig.client, REQ_OP_WRITE, mem, notify);
    assert.is(
      rig.run(() => rig.linux.dm_io(req, 1, [region(device, 0, 8)], null)),
      -EINVAL,
    );
  }
  assert.equal([told, device.got, rig.client.pool.outstanding], [0, [], 0]);
});

test('DMIO-16 the regions may be used for something else as soon as dm_io() has returned', async () => {
  const rig = await bootDisks(1);
  const { linux, bdevs, media } = rig;
  const data = pattern(PAGE_SIZE, 21);
  const mem: DmIoMemory = { type: DM_IO_PAGE_LIST, offset: 0, ptr: { pl: pageList(rig, data).pl } };
  const told: number[][] = [];
  rig.run(function* () {
    const where = [region(bdevs[0], 24, 8)];
    const fn = (bits: ConstErrorBits): void => void told.push(bits.regions());
    const req = request(rig.client, REQ_OP_WRITE, mem, fn);
    assert.is(yield* linux.dm_io(req, 1, where, null), 0);
    assert.equal(told, []);
    Object.assign(must(where[0]), { sector: 900, count: 1, bdev: null });
    where.length = 0;
  });
  linux.kernel.scheduler.run();
  assert.equal(told, [[]]);
  assert.equal(must(media[0]).read(24 * SECTOR, PAGE_SIZE), data);
});

test('DMIO-17 under memory pressure as many requests go on as the client has reserves; the next one waits', async () => {
  const rig = await bootDisks(1);
  const { linux } = rig;
  const held: Bio[] = [];
  const device = recorder(rig, (bio) => void held.push(bio));
  const mem = listOf(rig, PAGE_SIZE);
  linux.kernel.faults.mempool.failAll();
  let submitted = 0;
  const submitter = function* (): Sleeps<void> {
    for (; submitted < 20; submitted++) {
      const req = request(rig.client, REQ_OP_WRITE, mem, () => undefined);
      yield* linux.dm_io(req, 1, [region(device, submitted, 1)], null);
    }
  };
  const task = linux.kernel.scheduler.spawn('submitter', submitter);
  assertDeadlock(() => void linux.kernel.scheduler.run({ until: task }));
  assert.equal([submitted, held.length], [16, 16]);
  linux.bio_endio(must(held.shift()));
  assertDeadlock(() => void linux.kernel.scheduler.run({ until: task }));
  assert.is(submitted, 17);
  linux.kernel.faults.mempool.off();
  for (const bio of held.splice(0)) linux.bio_endio(bio);
  linux.kernel.scheduler.run({ until: task });
  assert.is(submitted, 20);
});

test('DMIO-18 a vmalloc area is flushed before the I/O, and after a read invalidated before the caller is told', async () => {
  const rig = await bootDisks(1);
  const { linux } = rig;
  const events: string[] = [];
  const device = recorder(rig, (bio) => {
    events.push('io');
    linux.bio_endio(bio);
  });
  linux.kernel.trace.listen({
    vmap_flush: (addr, size) => void events.push(`flush ${addr - area} ${size}`),
    vmap_invalidate: (addr, size) => void events.push(`invalidate ${addr - area} ${size}`),
  });
  const area = rig.run(function* () {
    return must(yield* linux.vmalloc(4 * PAGE_SIZE));
  });
  const mem: DmIoMemory = { type: DM_IO_VMA, ptr: { vma: area + 512 } };
  for (const op of [REQ_OP_READ, REQ_OP_WRITE]) {
    rig.run(function* () {
      const fn = (): void => void events.push('told');
      const where = [region(device, 0, 16), region(device, 32, 8)].slice(0, op === REQ_OP_READ ? 1 : 2);
      assert.is(yield* linux.dm_io(request(rig.client, op, mem, fn), where.length, where, null), 0);
    });
  }
  assert.equal(events, [
    'flush 512 8192',
    'io',
    'invalidate 512 8192',
    'told',
    'flush 512 8192',
    'io',
    'io',
    'told',
  ]);
});

test('DMIO-19 a client cannot end with I/O under way, nor be used when it has ended', async () => {
  const rig = await bootDisks(1);
  const { linux, client } = rig;
  const held: Bio[] = [];
  const device: BlockDevice = recorder(rig, (bio) => void held.push(bio));
  const req = request(client, REQ_OP_WRITE, listOf(rig, PAGE_SIZE), () => undefined);
  rig.run(() => linux.dm_io(req, 1, [region(device, 0, 8)], null));
  assertBug('DMIO-19', () => rig.run(() => linux.dm_io_client_destroy(client)));
  for (const bio of held) linux.bio_endio(bio);
  rig.run(() => linux.dm_io_client_destroy(client));
  assertBug('DMIO-19', () => rig.run(() => linux.dm_io(req, 1, [region(device, 0, 8)], null)));
  assertBug('DMIO-19', () => rig.run(() => linux.dm_io_client_destroy(client)));
});

test('a client that cannot be made is -ENOMEM and leaves nothing behind', async () => {
  const rig = await bootDisks(1);
  const { linux } = rig;
  const before = linux.slab_in_use();
  for (let after = 0; ; after++) {
    linux.kernel.faults.slab.set({ after });
    const made = rig.run(function* () {
      return linux.dm_io_client_create();
    });
    linux.kernel.faults.slab.off();
    if (!IS_ERR(made)) {
      assert.ok(after > 10);
      rig.run(() => linux.dm_io_client_destroy(made));
      break;
    }
    assert.is(made, -12);
    assert.equal(linux.slab_in_use(), before);
  }
  assert.equal(linux.slab_in_use(), before);
});
