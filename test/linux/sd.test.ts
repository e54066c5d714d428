import type { Page, Sleeps } from '../../src/kernel/index.ts';
import {
  type AttachOptions,
  type Bio,
  bootLinux,
  EIO,
  ENODATA,
  ETIMEDOUT,
  type Gendisk,
  GFP_KERNEL,
  type LinuxOptions,
  READ,
  REQ_FUA,
  REQ_OP_DISCARD,
  REQ_OP_READ,
  REQ_OP_WRITE,
  REQ_PREFLUSH,
  type Request,
  type ScsiHost,
  WRITE,
} from '../../src/linux/index.ts';
import { createMachine, type MachineOptions } from '../../src/machine/index.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('linux sd');

const MIB = 2 ** 20;
const KINDS = ['ahci', 'aha1542', 'piix-ide'] as const;

interface Setup {
  readonly kind?: string;
  readonly ram?: MachineOptions['ram'];
  readonly linux?: LinuxOptions;
  readonly attach?: AttachOptions;
  readonly disks?: number;
  readonly sectorBytes?: 512 | 4096;
  readonly diskBytes?: number;
}

/** A kernel on a machine with a controller and its disks. */
async function boot({
  kind = 'ahci',
  ram = 'default',
  linux: options = {},
  attach,
  disks = 1,
  sectorBytes = 512,
  diskBytes = MIB,
}: Setup) {
  const machine = await createMachine({ ram, diskBytes: 4 * MIB });
  const controller = machine.addController({ kind });
  const media = Array.from({ length: disks }, (_, place) => {
    const disk = machine.addDisk({ bytes: diskBytes, sectorBytes });
    // An IDE cable has two drives.
    if (kind === 'piix-ide') controller.attach(disk, place % 2, place >> 1);
    else controller.attach(disk, place);
    return disk;
  });
  const linux = bootLinux(machine, options);
  const host = linux.scsi_add_host(controller, attach);
  const { scheduler, allocator, frames } = linux.kernel;
  const run = <T>(body: () => Sleeps<T>): T => scheduler.complete('test', body);
  const page = (below?: number, from?: number): Page => {
    const where = { ...(below === undefined ? {} : { below }), ...(from === undefined ? {} : { from }) };
    return allocator.alloc({ ...where, tag: 'test' }) as Page;
  };
  const [gendisk] = host.disks as [Gendisk];
  const [medium] = media as [(typeof media)[number]];
  const rules = () => machine.guard.findings().map(({ rule }) => rule);
  return { machine, controller, linux, host, gendisk, medium, media, run, page, frames, scheduler, rules };
}

type Rig = Awaited<ReturnType<typeof boot>>;

/** A bio for whole pages. */
function* makeBio(
  { linux, gendisk }: Rig,
  op: number,
  sector: number,
  pages: readonly Page[],
  disk = gendisk,
): Sleeps<Bio> {
  const bio = (yield* linux.bio_alloc_bioset(
    GFP_KERNEL,
    pages.length,
    pages.length > 256 ? null : linux.fs_bio_set,
  )) as Bio;
  for (const page of pages) linux.bio_add_page(bio, page, 4096, 0);
  bio.bi_bdev = disk.part0;
  bio.bi_op = op;
  bio.bi_iter.bi_sector = sector;
  return bio;
}

/** Submits a bio, waits for it and returns its error. */
function* transfer(rig: Rig, op: number, sector: number, pages: readonly Page[], flags = 0): Sleeps<number> {
  const bio = yield* makeBio(rig, op, sector, pages);
  bio.bi_opf = flags;
  const error = yield* rig.linux.submit_bio_wait(bio);
  rig.linux.bio_put(bio);
  return error;
}

function pattern(seed: number, bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => (i * 7 + (i >>> 9) * 13 + seed) & 0xff);
}

/** Mappings that are alive beside the driver's own memory. */
function mapped({ machine }: Rig): number {
  return [...machine.guard.live].filter(({ kind }) => kind !== 'dma_alloc_coherent').length;
}

for (const kind of KINDS) {
  test(`bytes go to the disk and come back (${kind})`, async () => {
    const rig = await boot({ kind });
    const { machine, medium, run, page } = rig;
    const low = [page(16 * MIB), page(16 * MIB), page(16 * MIB)];
    for (const [i, { phys }] of low.entries()) machine.memory.writeBytes(phys, pattern(i, 4096));
    run(function* () {
      assert.is(yield* transfer(rig, REQ_OP_WRITE, 16, low), 0);
      for (const { phys } of low) machine.memory.fill(phys, 0, 4096);
      assert.is(yield* transfer(rig, REQ_OP_READ, 16, low), 0);
    });
    for (const [i, { phys }] of low.entries()) {
      assert.ok(machine.memory.equals(phys, pattern(i, 4096)));
      assert.equal(medium.read(8192 + 4096 * i, 4096), pattern(i, 4096));
    }
    assert.equal([rig.rules(), mapped(rig)], [[], 0]);
  });

  test(`more bios than the hardware has slots all end (${kind})`, async () => {
    const rig = await boot({ kind, disks: 2 });
    const { linux, host, media, run, page, machine, scheduler } = rig;
    const ends: number[] = [];
    const pages = Array.from({ length: 100 }, () => page(16 * MIB));
    for (const [i, { phys }] of pages.entries()) machine.memory.fill(phys, i, 4096);
    run(function* () {
      for (const [i, data] of pages.entries()) {
        const bio = yield* makeBio(rig, REQ_OP_WRITE, (i >> 1) * 8, [data], host.disks[i & 1]);
        bio.bi_end_io = (self) => {
          ends.push(self.bi_error);
          linux.bio_put(self);
        };
        yield* linux.submit_bio(bio);
      }
      while (ends.length < 100) yield* scheduler.delay(1000);
    });
    assert.ok(ends.every((error) => error === 0));
    for (let i = 0; i < 100; i++) assert.is(media[i & 1]?.read((i >> 1) * 4096, 1)[0], i);
    assert.equal([rig.rules(), mapped(rig)], [[], 0]);
    for (const { queue } of host.disks) assert.equal([queue.in_flight, queue.rl.count], [0, [0, 0]]);
  });

  test(`disks that share what their controller has all end their bios (${kind})`, async () => {
    const rig = await boot({ kind, disks: 4 });
    const { linux, host, media, run, page, machine, scheduler } = rig;
    let ended = 0;
    const pages = Array.from({ length: 40 }, () => page(16 * MIB));
    for (const [i, { phys }] of pages.entries()) machine.memory.fill(phys, i + 1, 4096);
    run(function* () {
      for (const [i, data] of pages.entries()) {
        const bio = yield* makeBio(rig, REQ_OP_WRITE, (i >> 2) * 16, [data], host.disks[i & 3]);
        bio.bi_end_io = (self) => {
          assert.is(self.bi_error, 0);
          ended++;
          linux.bio_put(self);
        };
        yield* linux.submit_bio(bio);
      }
      while (ended < 40) yield* scheduler.delay(1000);
    });
    // The disks of a channel follow each other: 0 and 2 on the first, 1 and 3 on the second.
    const order = kind === 'piix-ide' ? [0, 2, 1, 3] : [0, 1, 2, 3];
    for (let i = 0; i < 40; i++) {
      const medium = media[order[i & 3] as number];
      assert.is(medium?.read((i >> 2) * 8192, 1)[0], i + 1);
    }
    assert.equal([rig.rules(), mapped(rig)], [[], 0]);
  });

  test(`a passthrough command moves data, and fails with sense (${kind})`, async () => {
    const rig = await boot({ kind });
    const { linux, gendisk, run, page, machine } = rig;
    const q = gendisk.queue;
    const data = page(16 * MIB);
    run(function* () {
      const rq = (yield* linux.blk_get_request(q, READ, GFP_KERNEL)) as Request;
      linux.blk_rq_set_block_pc(rq);
      rq.cmd.set([0x12, 0, 0, 0, 36]); // INQUIRY
      rq.cmd_len = 6;
      const bio = (yield* linux.bio_alloc(GFP_KERNEL, 1)) as Bio;
      linux.bio_add_page(bio, data, 36, 0);
      assert.is(linux.blk_rq_append_bio(rq, bio), 0);
      assert.is(yield* linux.blk_execute_rq(q, gendisk, rq, false), 0);
      assert.equal([rq.errors, rq.resid_len], [0, 0]);
      assert.ok(machine.memory.read8(data.phys + 4) >= 31); // additional length of standard INQUIRY data
      linux.blk_rq_set_block_pc(rq);
      rq.cmd.set([0xd7]); // no such command
      const sense = new Uint8Array(32);
      rq.sense = sense;
      assert.is(yield* linux.blk_execute_rq(q, gendisk, rq, false), -EIO);
      assert.is(rq.errors & 0xff, 2);
      assert.equal([(sense[2] ?? 0) & 15, sense[12]], [5, 0x20]);
      assert.ok(rq.sense_len >= 18);
      linux.blk_put_request(rq);
    });
    assert.equal(rig.rules(), []);
  });

  test(`a bad sector ends a bio with -ENODATA, what lies before it arrived (${kind})`, async () => {
    const rig = await boot({ kind });
    const { machine, medium, linux, run, page } = rig;
    medium.write(0, pattern(3, 8192));
    machine.addFault({ disk: medium, kind: 'error', operations: ['read'], first: 10, last: 10 });
    const pages = [page(16 * MIB), page(16 * MIB)];
    run(function* () {
      assert.is(yield* transfer(rig, REQ_OP_READ, 0, pages), -ENODATA);
    });
    assert.ok(machine.memory.equals((pages[0] as Page).phys, pattern(3, 4096)));
    assert.equal(
      linux.kernel.warnings.all.map(({ what, where }) => `${what} ${where}`),
      ['critical medium error dev sda, sector 10'],
    );
  });

  test(`flushes come before and behind the data that asks for them (${kind})`, async () => {
    const rig = await boot({ kind });
    const { linux, gendisk, medium, run, page, machine } = rig;
    const data = page(16 * MIB);
    machine.memory.fill(data.phys, 1, 4096);
    const order: string[] = [];
    machine.tracer.listen((event) => {
      if (event.name === 'media') order.push(event.fields.op);
    });
    run(function* () {
      const bio = yield* makeBio(rig, REQ_OP_WRITE, 0, []);
      bio.bi_opf = REQ_PREFLUSH;
      assert.is(yield* linux.submit_bio_wait(bio), 0);
      assert.equal(order.splice(0), ['flush']);
      assert.is(yield* transfer(rig, REQ_OP_WRITE, 0, [data], REQ_PREFLUSH), 0);
      assert.equal(order.splice(0), ['flush', 'write']);
      linux.blk_queue_write_cache(gendisk.queue, true, false);
      assert.is(yield* transfer(rig, REQ_OP_WRITE, 0, [data], REQ_PREFLUSH | REQ_FUA), 0);
      assert.equal(order.splice(0), ['flush', 'write', 'flush']);
    });
    assert.is(medium.counters.writes, 2);
  });
}

test('a discard reaches the medium', async () => {
  const rig = await boot({});
  const { linux, medium, run } = rig;
  medium.write(0, pattern(1, 8192));
  run(function* () {
    const bio = yield* makeBio(rig, REQ_OP_DISCARD, 8, []);
    bio.bi_iter.bi_size = 4096;
    assert.is(yield* linux.submit_bio_wait(bio), 0);
  });
  assert.equal(medium.read(0, 4096), pattern(1, 8192).subarray(0, 4096));
  assert.ok(medium.read(4096, 4096).every((byte) => byte === 0));
});

test('sectors of 4096 bytes: what is not aligned to them fails, nothing reaches the disk', async () => {
  const rig = await boot({ sectorBytes: 4096 });
  const { medium, run, page } = rig;
  run(function* () {
    assert.is(yield* transfer(rig, REQ_OP_READ, 8, [page()]), 0);
    assert.is(yield* transfer(rig, REQ_OP_READ, 4, [page()]), -EIO);
  });
  assert.is(medium.counters.reads, 1);
});

test('pages that follow each other are one segment for the hardware', async () => {
  const rig = await boot({});
  const { controller, run, linux } = rig;
  const head = linux.kernel.allocator.alloc({ order: 2 }) as Page;
  linux.kernel.allocator.split(head);
  const pages = [0, 1, 2, 3].map((i) => rig.frames.pfnToPage(head.pfn + i) as Page);
  const issued: number[] = [];
  linux.kernel.trace.listen({
    dma_map: ({ bytes }) => {
      issued.push(bytes);
    },
  });
  run(function* () {
    assert.is(yield* transfer(rig, REQ_OP_READ, 0, pages), 0);
  });
  assert.equal(issued, [16384]);
  assert.is(controller.counters.dmaWriteBytes >= 16384, true);
});

test('DMA-03 memory above 4 GiB goes through the software I/O TLB for a board with 32 lines', async () => {
  const rig = await boot({ kind: 'ahci-sb600' });
  const { linux, machine, run, page, medium } = rig;
  const high = page(undefined, 2 ** 32);
  assert.ok(high.phys >= 2 ** 32);
  machine.memory.writeBytes(high.phys, pattern(9, 4096));
  const copies: number[] = [];
  linux.kernel.trace.listen({
    pages_copied: (why, bytes) => {
      if (why === 'swiotlb') copies.push(bytes);
    },
  });
  run(function* () {
    assert.is(yield* transfer(rig, REQ_OP_WRITE, 0, [high]), 0);
    machine.memory.fill(high.phys, 0, 4096);
    assert.is(yield* transfer(rig, REQ_OP_READ, 0, [high]), 0);
  });
  assert.equal(medium.read(0, 4096), pattern(9, 4096));
  assert.ok(machine.memory.equals(high.phys, pattern(9, 4096)));
  assert.equal([copies, rig.rules(), linux.swiotlb_usage().used], [[4096, 4096], [], 0]);
});

test('BNC-11 the queue itself bounces what a file system submits, also a clone that shares its vecs', async () => {
  const rig = await boot({ kind: 'aha1542' });
  const { linux, machine, run, page, medium } = rig;
  const high = page(undefined, 17 * MIB);
  machine.memory.writeBytes(high.phys, pattern(4, 4096));
  run(function* () {
    assert.is(yield* transfer(rig, REQ_OP_WRITE, 0, [high]), 0);
    medium.write(4096, pattern(8, 4096));
    const bio = yield* makeBio(rig, REQ_OP_READ, 8, [high]);
    const clone = (yield* linux.bio_clone_fast(bio, GFP_KERNEL, linux.fs_bio_set)) as Bio;
    assert.is(yield* linux.submit_bio_wait(clone), 0);
  });
  assert.equal(medium.read(0, 4096), pattern(4, 4096));
  assert.ok(machine.memory.equals(high.phys, pattern(8, 4096)));
  assert.equal([rig.rules(), linux.nr_bounce()], [[], 0]);
});

test('GMR-11 a bio of more segments than the hardware takes is cut, then bounced', async () => {
  const rig = await boot({ kind: 'aha1542' });
  const { run, page, medium, linux, machine } = rig;
  const pages = Array.from({ length: 40 }, () => page(undefined, 17 * MIB)).filter((_, i) => i % 2 === 0);
  medium.write(0, pattern(3, pages.length * 4096));
  run(function* () {
    assert.is(yield* transfer(rig, REQ_OP_READ, 0, pages), 0);
  });
  assert.ok(medium.counters.reads >= 2);
  for (const [i, { phys }] of pages.entries()) {
    assert.ok(machine.memory.equals(phys, pattern(3, pages.length * 4096), 4096 * i, 4096), `page ${i}`);
  }
  assert.equal([rig.rules(), linux.nr_bounce(), linux.kernel.warnings.all], [[], 0, []]);
});

test('GMR-11 pages that are neighbours and bounce are cut by the bounce pages they get', async () => {
  const rig = await boot({ kind: 'aha1542' });
  const { linux, host, run, page, medium, machine, shapes } = { ...rig, shapes: [] as number[] };
  const q = (host.disks[0] as Gendisk).queue;
  linux.blk_queue_max_segments(q, 4);
  // Bounce pages in an order in which no two are neighbours.
  const pool = Array.from({ length: 40 }, () => page(16 * MIB));
  for (const even of [0, 1]) for (let i = even; i < 40; i += 2) linux.put_page(pool[i] as Page);
  const pages = Array.from({ length: 20 }, () => page(undefined, 17 * MIB));
  assert.ok(pages.every(({ pfn }, i) => i === 0 || pfn === (pages[i - 1]?.pfn ?? 0) + 1));
  linux.kernel.trace.listen({
    block_rq_issue: (_q, rq) => void shapes.push((rq as Request).nr_phys_segments),
  });
  medium.write(0, pattern(6, pages.length * 4096));
  run(function* () {
    assert.is(yield* transfer(rig, REQ_OP_READ, 0, pages), 0);
  });
  assert.ok(shapes.length >= 5 && shapes.every((segments) => segments <= 4));
  assert.ok(machine.memory.equals(pages[0]?.phys ?? 0, pattern(6, pages.length * 4096)));
  assert.equal([rig.rules(), linux.nr_bounce(), linux.kernel.warnings.all], [[], 0, []]);
});

test('GMR-11 a bio of 300 vecs that must bounce is cut to what a clone can have', async () => {
  const rig = await boot({ kind: 'aha1542', diskBytes: 2 * MIB });
  const { run, page, medium, linux, machine } = rig;
  const one = page(undefined, 17 * MIB);
  machine.memory.fill(one.phys, 0x3c, 4096);
  run(function* () {
    assert.is(yield* transfer(rig, REQ_OP_WRITE, 0, new Array(300).fill(one)), 0);
  });
  assert.is(medium.counters.writes >= 2, true);
  assert.equal([rig.rules(), linux.nr_bounce()], [[], 0]);
});

test('map-mask without a bounce limit an address is cut, the guard says where, and other memory is hit', async () => {
  const rig = await boot({ kind: 'aha1542', attach: { bounce: false } });
  const { machine, run, page, medium } = rig;
  const high = page(undefined, 17 * MIB);
  const hit = high.phys % (16 * MIB);
  medium.write(0, pattern(5, 4096));
  machine.memory.fill(high.phys, 0xee, 4096);
  run(function* () {
    assert.is(yield* transfer(rig, REQ_OP_READ, 0, [high]), 0);
  });
  assert.ok(machine.memory.equals(hit, pattern(5, 4096)));
  assert.is(machine.memory.read8(high.phys), 0xee);
  const findings = machine.guard.findings();
  const cut = findings.find(({ rule, message }) => rule === 'map-mask' && /cut to 24 bits/.test(message));
  assert.equal([cut?.address, cut?.length, cut?.device], [high.phys, 4096, 'aha1542.0']);
  assert.match(cut?.message ?? '', /the driver of aha1542\.0/);
  const strange = findings.find(({ rule }) => rule === 'dev-unmapped');
  assert.equal([strange?.address, strange?.length], [hit, 4096]);
});

test('map-mask the twin whose memory is in reach is silent', async () => {
  const rig = await boot({ kind: 'aha1542', attach: { bounce: false } });
  const { run, page } = rig;
  run(function* () {
    assert.is(yield* transfer(rig, REQ_OP_READ, 0, [page(16 * MIB)]), 0);
  });
  assert.equal(rig.rules(), []);
});

test('a command that never ends is given up after the time-out: -ETIMEDOUT', async () => {
  const rig = await boot({ attach: { timeoutNs: 1e9 } });
  const { machine, medium, run, page, scheduler } = rig;
  machine.addFault({ disk: medium, kind: 'delay', times: 1, argument: 1e15 });
  run(function* () {
    const data = page();
    assert.is(yield* transfer(rig, REQ_OP_READ, 0, [data]), -ETIMEDOUT);
    assert.ok(scheduler.now() >= 1e9 && scheduler.now() < 40e9);
    assert.is(yield* transfer(rig, REQ_OP_READ, 0, [data]), 0);
  });
  assert.is(mapped(rig), 0);
});

test('a request that can never be mapped fails in the end', async () => {
  const rig = await boot({ kind: 'ahci-sb600', linux: { swiotlb: false } });
  const { run, page } = rig;
  run(function* () {
    assert.is(yield* transfer(rig, REQ_OP_READ, 0, [page(undefined, 2 ** 32)]), -EIO);
    assert.is(yield* transfer(rig, REQ_OP_READ, 0, [page(2 ** 32)]), 0);
  });
  assert.equal(rig.rules(), []);
});

test('map-leak nothing is left when a driver is detached, what was forgotten is named', async () => {
  const rig = await boot({});
  const { linux, host, machine, page, run } = rig;
  run(function* () {
    assert.is(yield* transfer(rig, REQ_OP_READ, 0, [page()]), 0);
  });
  const forgotten = page();
  linux.dma_map_page(host.device, forgotten, 0, 512, WRITE + 1, 'a test');
  assert.is(linux.scsi_remove_host(host as ScsiHost), 1);
  const [finding] = machine.guard.findings();
  assert.is(finding?.rule, 'map-leak');
  assert.equal([finding?.mapping?.address, finding?.mapping?.where], [forgotten.phys, 'a test']);
  assert.equal([...machine.guard.live], []);
});

test('requests and command slots are reused', async () => {
  const rig = await boot({});
  const { gendisk, run, page } = rig;
  const seen = new Set<Request>();
  rig.linux.kernel.trace.listen({
    block_rq_issue: (_q, rq) => {
      seen.add(rq as Request);
    },
  });
  run(function* () {
    const data = page();
    for (let i = 0; i < 20; i++) yield* transfer(rig, REQ_OP_READ, i, [data]);
  });
  assert.equal([seen.size, gendisk.queue.rl.count], [1, [0, 0]]);
});

for (const kind of KINDS) {
  test(`interrupts that come in wherever they may do no harm (${kind})`, async () => {
    for (const seed of [1, 2, 3]) {
      const rig = await boot({ kind, disks: 2, linux: { accessChance: 0.7, order: 'seeded', seed } });
      const { linux, host, run, page, scheduler, media } = rig;
      let left = 0;
      run(function* () {
        const writers = host.disks.map((disk, which) =>
          scheduler.spawn(`writer ${which}`, function* () {
            for (let i = 0; i < 40; i++) {
              const data = page(16 * MIB);
              rig.machine.memory.fill(data.phys, i + which, 4096);
              const bio = yield* makeBio(rig, REQ_OP_WRITE, i * 8, [data], disk);
              left++;
              bio.bi_end_io = (self, error) => {
                assert.is(error, 0);
                left--;
                linux.bio_put(self);
              };
              yield* linux.submit_bio(bio);
              if (i % 5 === 0) yield* scheduler.yieldNow();
            }
          }),
        );
        for (const writer of writers) yield* scheduler.join(writer);
        while (left > 0) yield* scheduler.delay(1000);
      });
      for (let i = 0; i < 80; i++) assert.is(media[i & 1]?.read((i >> 1) * 4096, 1)[0], (i >> 1) + (i & 1));
      assert.equal([rig.rules(), mapped(rig)], [[], 0]);
    }
  });
}

for (const kind of KINDS) {
  test(`a time-out while interrupts come in wherever they may does no harm (${kind})`, async () => {
    for (const seed of [1, 2, 3]) {
      const linux = { accessChance: 0.5, seed };
      const rig = await boot({ kind, linux, attach: { timeoutNs: 1e9 } });
      const { machine, medium, run, page, scheduler } = rig;
      medium.write(0, pattern(3, 64 * 4096));
      machine.addFault({ disk: medium, kind: 'delay', times: 2, argument: 1e15 });
      run(function* () {
        const readers = Array.from({ length: 6 }, (_, i) =>
          scheduler.spawn(`reader ${i}`, function* () {
            for (let n = 0; n < 4; n++) {
              const data = page();
              const error = yield* transfer(rig, REQ_OP_READ, (i * 4 + n) * 8, [data]);
              if (error !== 0) assert.is(error, -ETIMEDOUT);
              else
                assert.ok(machine.memory.equals(data.phys, pattern(3, 64 * 4096), (i * 4 + n) * 4096, 4096));
            }
          }),
        );
        for (const reader of readers) yield* scheduler.join(reader);
      });
      assert.equal([rig.rules(), mapped(rig), rig.gendisk.queue.in_flight], [[], 0, 0]);
    }
  });
}

test('without the guard everything works, and nothing is noted', async () => {
  const machine = await createMachine({ guard: false, diskBytes: MIB });
  const controller = machine.addController({ kind: 'ahci' });
  const medium = machine.addDisk({ bytes: MIB });
  controller.attach(medium, 0);
  const linux = bootLinux(machine);
  const [disk] = linux.scsi_add_host(controller).disks as [Gendisk];
  medium.write(0, pattern(1, 4096));
  const page = linux.kernel.allocator.alloc({}) as Page;
  const error = linux.kernel.scheduler.complete('reader', function* () {
    const bio = (yield* linux.bio_alloc(GFP_KERNEL, 1)) as Bio;
    linux.bio_add_page(bio, page, 4096, 0);
    bio.bi_bdev = disk.part0;
    return yield* linux.submit_bio_wait(bio);
  });
  assert.is(error, 0);
  assert.ok(machine.memory.equals(page.phys, pattern(1, 4096)));
  assert.equal(machine.guard.findings(), []);
});
