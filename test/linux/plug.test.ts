import type { Sleeps } from '../../src/kernel/index.ts';
import {
  type Bio,
  BlkPlug,
  bootLinux,
  Gendisk,
  GFP_KERNEL,
  REQ_FUA,
  REQ_NOMERGE,
  REQ_OP_WRITE,
  REQ_OP_WRITE_SAME,
  REQ_PREFLUSH,
  type Request,
  type RequestQueue,
} from '../../src/linux/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import { assert, suite } from '../run/suite.ts';
import { assertBug, inTask, must } from './help.ts';

const test = suite('linux plug');

/** A disk that holds what it is given until it is told to end it. */
async function boot() {
  const machine = await createMachine({ ram: [{ base: 0, bytes: 16 * 2 ** 20 }], guard: false });
  const linux = bootLinux(machine);
  const taken: Request[] = [];
  const calls: number[] = [];
  const start = (queue: RequestQueue): void => {
    let count = 0;
    for (let rq = linux.blk_fetch_request(queue); rq !== null; rq = linux.blk_fetch_request(queue)) {
      taken.push(rq);
      count++;
    }
    if (count > 0) calls.push(count);
  };
  const makeDisk = (name: string): Gendisk => {
    const q = linux.blk_init_queue(start);
    q.wc = true;
    linux.blk_queue_max_hw_sectors(q, 2048);
    return new Gendisk(name, q);
  };
  const events: string[] = [];
  linux.kernel.trace.listen({
    block_plug: (q) => void events.push(`plug ${(q as RequestQueue).id}`),
    block_unplug: (q, depth, explicit) =>
      void events.push(`unplug ${(q as RequestQueue).id} ${depth} ${explicit ? 'explicit' : 'sleep'}`),
    block_bio_backmerge: (_q, rq, bio) => void events.push(`back ${rq.__sector} ${bio.bi_iter.bi_sector}`),
    block_bio_frontmerge: (_q, rq, bio) => void events.push(`front ${rq.__sector} ${bio.bi_iter.bi_sector}`),
  });
  const shapes = () => taken.map((rq) => [rq.__sector, rq.__data_len / 512]);
  const finish = (): void => {
    for (const rq of taken.splice(0)) linux.blk_end_request_all(rq, 0);
  };
  return { linux, makeDisk, taken, calls, events, shapes, finish };
}

type Rig = Awaited<ReturnType<typeof boot>>;

let nextPfn = 1000;

/** Submits a bio of one page at `sector`. */
function* send(
  { linux }: Rig,
  disk: Gendisk,
  sector: number,
  op = REQ_OP_WRITE,
  flags = 0,
  ended: (bio: Bio) => void = () => undefined,
): Sleeps<Bio> {
  const bio = must(yield* linux.bio_alloc(GFP_KERNEL, 1));
  bio.bi_bdev = disk.part0;
  bio.bi_op = op;
  bio.bi_opf = flags;
  bio.bi_iter.bi_sector = sector;
  bio.bi_end_io = (done) => ended(done);
  nextPfn += 2;
  linux.bio_add_page(bio, must(linux.kernel.frames.pfnToPage(1000 + (nextPfn % 1024))), 4096, 0);
  yield* linux.submit_bio(bio);
  return bio;
}

test('a plug makes one request of neighbours, at the end and at the front, and calls the driver once', async () => {
  const rig = await boot();
  const { linux, calls, events, shapes, finish } = rig;
  const disk = rig.makeDisk('a');
  const ends: number[] = [];
  inTask(linux, function* () {
    const plug = new BlkPlug();
    linux.blk_start_plug(plug);
    for (const sector of [16, 24, 8, 100, 32]) {
      yield* send(rig, disk, sector, REQ_OP_WRITE, 0, (bio) => {
        ends.push(bio.bi_iter.bi_sector);
      });
    }
    assert.equal(calls, []);
    linux.blk_finish_plug(plug);
  });
  const id = disk.queue.id;
  assert.equal(events, [`plug ${id}`, 'back 16 24', 'front 16 8', 'back 8 32', `unplug ${id} 2 explicit`]);
  assert.equal(shapes(), [
    [8, 32],
    [100, 8],
  ]);
  assert.equal(calls, [2]);
  finish();
  // Every bio has its own end, where it ended.
  assert.equal(ends, [16, 24, 32, 40, 108]);
});

test('without a plug a bio merges with a request that waits for the driver', async () => {
  const rig = await boot();
  const { linux, shapes } = rig;
  const disk = rig.makeDisk('a');
  inTask(linux, function* () {
    linux.blk_stop_queue(disk.queue);
    for (const sector of [0, 16, 8]) yield* send(rig, disk, sector);
    const flags = disk.queue.queue_lock.lockIrqSave();
    linux.blk_start_queue(disk.queue);
    disk.queue.queue_lock.unlockIrqRestore(flags);
  });
  // The third closed the gap between the first two, so that all are one request.
  assert.equal(shapes(), [[0, 24]]);
  assert.equal(disk.queue.rl.count, [1, 0]);
});

test('what has started, another direction, flush, FUA and REQ_NOMERGE stay alone', async () => {
  const rig = await boot();
  const { linux, shapes } = rig;
  const disk = rig.makeDisk('a');
  inTask(linux, function* () {
    yield* send(rig, disk, 0);
    linux.blk_stop_queue(disk.queue);
    yield* send(rig, disk, 8);
    yield* send(rig, disk, 16, 0);
    yield* send(rig, disk, 16, REQ_OP_WRITE, REQ_FUA);
    yield* send(rig, disk, 24, REQ_OP_WRITE, REQ_PREFLUSH);
    yield* send(rig, disk, 32, REQ_OP_WRITE, REQ_NOMERGE);
    yield* send(rig, disk, 40);
    const flags = disk.queue.queue_lock.lockIrqSave();
    linux.blk_start_queue(disk.queue);
    disk.queue.queue_lock.unlockIrqRestore(flags);
  });
  assert.equal(
    shapes(),
    [0, 8, 16, 16, 24, 32, 40].map((sector) => [sector, 8]),
  );
});

test('SG-06 merging stops at the limits of segments, sectors and the virt boundary, and at nomerges', async () => {
  const rig = await boot();
  const { linux, shapes, taken, finish } = rig;
  const disk = rig.makeDisk('a');
  const q = disk.queue;
  const go = (): readonly unknown[] => {
    inTask(linux, function* () {
      const plug = new BlkPlug();
      linux.blk_start_plug(plug);
      for (let i = 0; i < 6; i++) yield* send(rig, disk, 8 * i);
      linux.blk_finish_plug(plug);
    });
    const list = shapes();
    finish();
    assert.is(taken.length, 0);
    return list;
  };
  linux.blk_queue_max_segments(q, 4);
  assert.equal(go(), [
    [0, 32],
    [32, 16],
  ]);
  linux.blk_queue_max_segments(q, 128);
  q.limits.max_sectors = 24;
  assert.equal(go(), [
    [0, 24],
    [24, 24],
  ]);
  q.limits.max_sectors = 2048;
  linux.blk_queue_chunk_sectors(q, 16);
  assert.equal(go(), [
    [0, 16],
    [16, 16],
    [32, 16],
  ]);
  q.limits.chunk_sectors = 0;
  q.nomerges = true;
  assert.is(go().length, 6);
});

test('requests for two queues are sorted, and each driver is called once', async () => {
  const rig = await boot();
  const { linux, shapes, calls, events } = rig;
  const a = rig.makeDisk('a');
  const b = rig.makeDisk('b');
  inTask(linux, function* () {
    const plug = new BlkPlug();
    linux.blk_start_plug(plug);
    yield* send(rig, b, 200);
    yield* send(rig, a, 80);
    yield* send(rig, b, 100);
    yield* send(rig, a, 40);
    linux.blk_finish_plug(plug);
  });
  assert.equal(shapes(), [
    [40, 8],
    [80, 8],
    [100, 8],
    [200, 8],
  ]);
  assert.equal(calls, [2, 2]);
  assert.equal(events.slice(-2), [`unplug ${a.queue.id} 2 explicit`, `unplug ${b.queue.id} 2 explicit`]);
});

test('the seventeenth request for a queue lets the others go', async () => {
  const rig = await boot();
  const { linux, calls, taken } = rig;
  const disk = rig.makeDisk('a');
  inTask(linux, function* () {
    const plug = new BlkPlug();
    linux.blk_start_plug(plug);
    for (let i = 0; i < 17; i++) yield* send(rig, disk, 100 * i);
    assert.equal(calls, [16]);
    linux.blk_finish_plug(plug);
  });
  assert.equal([calls, taken.length], [[16, 1], 17]);
});

test('a plug inside of a plug does nothing', async () => {
  const rig = await boot();
  const { linux, calls } = rig;
  const disk = rig.makeDisk('a');
  inTask(linux, function* () {
    const outer = new BlkPlug();
    const inner = new BlkPlug();
    linux.blk_start_plug(outer);
    linux.blk_start_plug(inner);
    yield* send(rig, disk, 0);
    linux.blk_finish_plug(inner);
    assert.equal(calls, []);
    linux.blk_finish_plug(outer);
  });
  assert.equal(calls, [1]);
});

test('plug-open a task that ends with its plug is a bug', async () => {
  const { linux } = await boot();
  const plug = new BlkPlug();
  assertBug('plug-open', () =>
    inTask(linux, function* () {
      linux.blk_start_plug(plug);
    }),
  );
});

test('who goes to sleep with a plug lets go first, or it would wait for itself', async () => {
  const rig = await boot();
  const { linux, events, finish } = rig;
  const disk = rig.makeDisk('a');
  const { scheduler } = linux.kernel;
  let waits = true;
  const driver = scheduler.spawn('driver', function* () {
    while (waits) yield* scheduler.yieldNow();
  });
  inTask(linux, function* () {
    const plug = new BlkPlug();
    linux.blk_start_plug(plug);
    const bio = must(yield* linux.bio_alloc(GFP_KERNEL, 1));
    bio.bi_bdev = disk.part0;
    linux.bio_add_page(bio, must(linux.kernel.frames.pfnToPage(1000)), 4096, 0);
    scheduler.spawn('end', function* () {
      while (rig.taken.length === 0) yield* scheduler.delay(1000);
      finish();
    });
    assert.is(yield* linux.submit_bio_wait(bio), 0);
    linux.blk_finish_plug(plug);
    waits = false;
  });
  scheduler.run({ until: driver });
  assert.equal(events, [`plug ${disk.queue.id}`, `unplug ${disk.queue.id} 1 sleep`]);
});

test('a request that ends while its submitter goes to sleep does not lose the wake-up', async () => {
  const rig = await boot();
  const { linux } = rig;
  const q = linux.blk_init_queue((queue) => {
    for (let rq = linux.blk_fetch_request(queue); rq !== null; rq = linux.blk_fetch_request(queue)) {
      linux.__blk_end_request_all(rq, 0);
    }
  });
  const disk = new Gendisk('instant', q);
  const error = inTask(linux, function* () {
    const plug = new BlkPlug();
    linux.blk_start_plug(plug);
    const bio = must(yield* linux.bio_alloc(GFP_KERNEL, 1));
    bio.bi_bdev = disk.part0;
    linux.bio_add_page(bio, must(linux.kernel.frames.pfnToPage(1000)), 4096, 0);
    const result = yield* linux.submit_bio_wait(bio);
    linux.blk_finish_plug(plug);
    return result;
  });
  assert.is(error, 0);
});

test('a dying queue ends what a plug kept back', async () => {
  const rig = await boot();
  const { linux, calls } = rig;
  const disk = rig.makeDisk('a');
  const errors: number[] = [];
  inTask(linux, function* () {
    const plug = new BlkPlug();
    linux.blk_start_plug(plug);
    yield* send(rig, disk, 0, REQ_OP_WRITE, 0, (bio) => {
      errors.push(bio.bi_error);
    });
    disk.queue.dying = true;
    linux.blk_finish_plug(plug);
  });
  assert.equal([errors, calls], [[-19], []]);
});

/** Lets a queue that was stopped go. */
function start({ linux }: Rig, q: RequestQueue): void {
  const flags = q.queue_lock.lockIrqSave();
  linux.blk_start_queue(q);
  q.queue_lock.unlockIrqRestore(flags);
}

test('what is kept back becomes a part of a request that waits already', async () => {
  const rig = await boot();
  const { linux, shapes } = rig;
  const disk = rig.makeDisk('a');
  inTask(linux, function* () {
    linux.blk_stop_queue(disk.queue);
    const plug = new BlkPlug();
    linux.blk_start_plug(plug);
    yield* send(rig, disk, 8);
    yield* send(rig, disk, 32);
    const other = linux.kernel.scheduler.spawn('other', () => send(rig, disk, 0));
    while (other.state !== 'dead') yield* linux.kernel.scheduler.yieldNow();
    linux.blk_finish_plug(plug);
    start(rig, disk.queue);
  });
  assert.equal(shapes(), [
    [0, 16],
    [32, 8],
  ]);
});

test('a request that was put back, prepared or not, takes no more bios', async () => {
  const rig = await boot();
  const { linux, shapes, taken } = rig;
  const disk = rig.makeDisk('a');
  const q = disk.queue;
  inTask(linux, function* () {
    yield* send(rig, disk, 8);
    const [rq] = taken.splice(0) as [Request];
    linux.blk_stop_queue(q);
    const flags = q.queue_lock.lockIrqSave();
    linux.blk_requeue_request(q, rq);
    q.queue_lock.unlockIrqRestore(flags);
    yield* send(rig, disk, 16);
    yield* send(rig, disk, 0);
    start(rig, q);
  });
  assert.equal(
    shapes(),
    [8, 16, 0].map((sector) => [sector, 8]),
  );
});

test('a request that the driver has looked at, or put something into, takes no more bios', async () => {
  const rig = await boot();
  const { linux, shapes } = rig;
  const disk = rig.makeDisk('a');
  const q = disk.queue;
  inTask(linux, function* () {
    linux.blk_stop_queue(q);
    yield* send(rig, disk, 0);
    const flags = q.queue_lock.lockIrqSave();
    linux.blk_peek_request(q);
    q.queue_lock.unlockIrqRestore(flags);
    yield* send(rig, disk, 8);
    must(q.tail).special = 'of the driver';
    yield* send(rig, disk, 16);
    start(rig, q);
  });
  assert.equal(
    shapes(),
    [0, 8, 16].map((sector) => [sector, 8]),
  );
});

test('two requests too large to be one still take a bio each', async () => {
  const rig = await boot();
  const { linux, shapes } = rig;
  const disk = rig.makeDisk('a');
  linux.blk_queue_max_segments(disk.queue, 4);
  inTask(linux, function* () {
    linux.blk_stop_queue(disk.queue);
    for (const sector of [8, 16, 32, 40, 48, 24, 0]) yield* send(rig, disk, sector);
    start(rig, disk.queue);
  });
  assert.equal(shapes(), [
    [0, 24],
    [24, 32],
  ]);
});

test('two disks of one queue have no request together', async () => {
  const rig = await boot();
  const { linux, shapes } = rig;
  const disk = rig.makeDisk('a');
  const other = new Gendisk('b', disk.queue);
  inTask(linux, function* () {
    linux.blk_stop_queue(disk.queue);
    yield* send(rig, disk, 0);
    yield* send(rig, other, 8);
    start(rig, disk.queue);
  });
  assert.equal(shapes(), [
    [0, 8],
    [8, 8],
  ]);
});

test('two write-sames are one request only if they write the same', async () => {
  const rig = await boot();
  const { linux, shapes } = rig;
  const disk = rig.makeDisk('a');
  linux.blk_queue_max_write_same_sectors(disk.queue, 1000);
  inTask(linux, function* () {
    linux.blk_stop_queue(disk.queue);
    for (const [sector, pfn] of [
      [0, 0],
      [8, 0],
      [16, 100],
    ] as const) {
      nextPfn = pfn;
      yield* send(rig, disk, sector, REQ_OP_WRITE_SAME);
    }
    start(rig, disk.queue);
  });
  assert.equal(shapes(), [
    [0, 16],
    [16, 8],
  ]);
});
