import {
  type Bio,
  type BioQueue,
  bio_sectors,
  EIO,
  EOPNOTSUPP,
  GFP_KERNEL,
  GFP_NOIO,
  type LinuxApi,
  REQ_FUA,
  REQ_OP_DISCARD,
  REQ_OP_SECURE_ERASE,
  REQ_OP_WRITE,
  REQ_OP_WRITE_SAME,
  REQ_PREFLUSH,
  REQ_SYNC,
} from '../../src/linux/index.ts';
import { assert, suite } from '../run/suite.ts';
import { sink, TestDevice } from './device.ts';
import { assertBug, assertDeadlock, bioOf, boot, inProcess, inTask, must } from './help.ts';

const test = suite('submit');

/** A bio of so many sectors at a sector; it need not have memory. */
function bioAt(linux: LinuxApi, device: TestDevice, sector: number, sectors: number): Bio {
  const bio = must(inProcess(linux, () => linux.bio_kmalloc(GFP_KERNEL, 0)));
  bio.bi_bdev = device;
  bio.bi_op = REQ_OP_WRITE;
  bio.bi_iter.bi_sector = sector;
  bio.bi_iter.bi_size = sectors * 512;
  return bio;
}

/** Submits and returns how it ended; null when it has not. */
function endOf(linux: LinuxApi, bio: Bio): number | null {
  let end: number | null = null;
  bio.bi_end_io = (_bio, error) => {
    end = error;
  };
  inTask(linux, () => linux.generic_make_request(bio));
  return end;
}

// ---- checks

for (const [sector, sectors, end] of [
  [92, 8, 0],
  [93, 8, -EIO],
  [100, 0, 0],
  [101, 0, 0],
  [0, 101, -EIO],
  [2 ** 52, 8, -EIO],
] as const) {
  test(`GMR-01 GMR-02 ${sectors} sectors at ${sector} of a device of 100: ${end}`, async () => {
    const linux = await boot();
    const device = sink(linux);
    device.nr_sects = 100;
    assert.is(endOf(linux, bioAt(linux, device, sector, sectors)), end);
    assert.is(device.got.length, end === 0 ? 1 : 0);
  });
}

test('GMR-02 a device of unknown size takes any sector', async () => {
  const linux = await boot();
  assert.is(endOf(linux, bioAt(linux, sink(linux), 2 ** 40, 8)), 0);
});

test('GMR-01 no queue and no device: -EIO', async () => {
  const linux = await boot();
  const device = new TestDevice('gone');
  device.queue = null;
  assert.is(endOf(linux, bioAt(linux, device, 0, 8)), -EIO);
  const nowhere = bioAt(linux, device, 0, 8);
  nowhere.bi_bdev = null;
  assert.is(endOf(linux, nowhere), -EIO);
});

test('GMR-01 fault injection: -EIO, in the order of the plan', async () => {
  const linux = await boot();
  const device = sink(linux);
  linux.kernel.faults.make_request.set({ every: 2 });
  const ends = [0, 1, 2, 3].map((i) => endOf(linux, bioAt(linux, device, i, 1)));
  assert.equal(ends, [0, -EIO, 0, -EIO]);
});

test('GMR-01 what is refused before, for its place or for want of a queue, is not counted by fault injection', async () => {
  const linux = await boot();
  const device = sink(linux);
  device.nr_sects = 100;
  const gone = sink(linux, 'gone');
  gone.queue = null;
  const plan = linux.kernel.faults.make_request;
  plan.set({ every: 2 });
  assert.is(endOf(linux, bioAt(linux, device, 99, 2)), -EIO);
  assert.is(endOf(linux, bioAt(linux, gone, 0, 1)), -EIO);
  assert.is(plan.calls, 0);
  assert.is(endOf(linux, bioAt(linux, device, 0, 1)), 0);
  assert.is(plan.calls, 1);
});

test('GMR-01 a bio of more sectors than the hardware takes is the driver’s to cut', async () => {
  const linux = await boot();
  const device = sink(linux);
  assert.is(endOf(linux, bioAt(linux, device, 0, device.q.limits.max_hw_sectors + 1)), 0);
});

test('GMR-01 a bio for a partition goes to its disk, checked against both', async () => {
  const linux = await boot();
  const disk = sink(linux, 'sda');
  disk.nr_sects = 120;
  const part = new TestDevice('sda1');
  part.queue = disk.queue;
  part.bd_contains = disk;
  part.start_sect = 64;
  part.nr_sects = 100; // more than the disk has
  const remaps: [string, number][] = [];
  linux.kernel.trace.listen({
    block_bio_remap: (_q, _bio, dev, from) => void remaps.push([dev.bd_name, from]),
  });
  assert.is(endOf(linux, bioAt(linux, part, 8, 8)), 0);
  assert.equal([disk.got[0]?.bi_iter.bi_sector, disk.got[0]?.bi_bdev], [72, disk]);
  assert.equal(remaps, [['sda1', 8]]);
  assert.is(endOf(linux, bioAt(linux, part, 56, 8)), -EIO); // inside the partition, outside of the disk
  const empty = bioAt(linux, part, 8, 0);
  assert.is(endOf(linux, empty), 0);
  assert.equal([empty.bi_bdev, empty.bi_iter.bi_sector], [part, 8]);
});

test('GMR-01 without a write cache flush and FUA are stripped, and an empty flush has ended well', async () => {
  const linux = await boot();
  const device = sink(linux);
  const data = bioAt(linux, device, 0, 8);
  data.bi_opf = REQ_PREFLUSH | REQ_FUA | REQ_SYNC;
  assert.is(endOf(linux, data), 0);
  assert.is(data.bi_opf, REQ_SYNC);
  const flush = bioAt(linux, device, 0, 0);
  flush.bi_opf = REQ_PREFLUSH;
  assert.is(endOf(linux, flush), 0);
  assert.is(device.got.length, 1);
  device.q.wc = true;
  const cached = bioAt(linux, device, 0, 0);
  cached.bi_opf = REQ_PREFLUSH;
  endOf(linux, cached);
  assert.equal([device.got.length, device.got[1]?.bi_opf], [2, REQ_PREFLUSH]);
});

for (const [name, op, enable] of [
  ['discard', REQ_OP_DISCARD, (device: TestDevice) => Object.assign(device.q, { discard: true })],
  [
    'secure erase',
    REQ_OP_SECURE_ERASE,
    (device: TestDevice) => Object.assign(device.q, { secure_erase: true }),
  ],
  [
    'write-same',
    REQ_OP_WRITE_SAME,
    (device: TestDevice) => Object.assign(device.q.limits, { max_write_same_sectors: 100 }),
  ],
] as const) {
  test(`GMR-01 ${name} on a queue that cannot: -EOPNOTSUPP`, async () => {
    const linux = await boot();
    const device = sink(linux);
    const make = (): Bio => Object.assign(bioAt(linux, device, 0, 8), { bi_op: op });
    assert.is(endOf(linux, make()), -EOPNOTSUPP);
    enable(device);
    assert.is(endOf(linux, make()), 0);
  });
}

test('GMR-03 a nested bio that cannot go ends before an earlier nested one starts', async () => {
  const linux = await boot();
  const log: string[] = [];
  const lower = sink(linux, 'lower');
  lower.nr_sects = 100;
  const upper = new TestDevice('upper');
  const child = (sector: number): Bio => {
    const bio = bioAt(linux, lower, sector, 8);
    bio.bi_end_io = (_bio, error) => {
      log.push(`${sector}: ${error}`);
    };
    return bio;
  };
  const [good, bad] = [child(0), child(1000)];
  upper.q.make_request_fn = function* () {
    yield* linux.generic_make_request(good);
    yield* linux.generic_make_request(bad);
    log.push('returned');
  };
  const bio = bioAt(linux, upper, 0, 8);
  inTask(linux, () => linux.generic_make_request(bio));
  assert.equal(log, ['1000: -5', 'returned', '0: 0']);
});

test('GMR-04 block_bio_queue fires once for a bio that passes, not for one that does not', async () => {
  const linux = await boot();
  const device = sink(linux);
  device.nr_sects = 100;
  const seen: number[] = [];
  linux.kernel.trace.listen({
    block_bio_queue: (_q, bio) => void seen.push(bio.bi_iter.bi_sector),
  });
  endOf(linux, bioAt(linux, device, 10, 8));
  endOf(linux, bioAt(linux, device, 99, 8));
  assert.equal(seen, [10]);
});

// ---- the loop

test('GMR-05 however deep devices are stacked, one make_request function runs at a time', async () => {
  const linux = await boot();
  const bottom = sink(linux);
  let active = 0;
  let most = 0;
  let device: TestDevice = bottom;
  for (let i = 0; i < 1000; i++) {
    const below = device;
    device = new TestDevice(`level ${i}`);
    device.q.make_request_fn = function* (_q: BioQueue, bio: Bio) {
      most = Math.max(most, ++active);
      bio.bi_bdev = below;
      yield* linux.generic_make_request(bio);
      active--;
    };
  }
  assert.is(endOf(linux, bioAt(linux, device, 0, 8)), 0);
  assert.equal([most, bottom.got.length], [1, 1]);
});

test('GMR-06 the list exists while a make_request function runs, and only then', async () => {
  const linux = await boot();
  const device = new TestDevice('any');
  const seen: boolean[] = [];
  const active = (): boolean => linux.kernel.current?.bio_list !== null;
  device.q.make_request_fn = function* () {
    seen.push(active());
  };
  const bio = bioAt(linux, device, 0, 8);
  inTask(linux, function* () {
    seen.push(active());
    yield* linux.generic_make_request(bio);
    seen.push(active());
  });
  assert.equal(seen, [false, true, false]);
});

test('GMR-06 a bio that is in a list is a bug', async () => {
  const linux = await boot();
  const device = sink(linux);
  const bio = bioAt(linux, device, 0, 8);
  bio.bi_next = bioAt(linux, device, 0, 8);
  assertBug('GMR-06', () => inTask(linux, () => linux.generic_make_request(bio)));
});

/** A device T that takes 8 sectors and stands on L: who was called, in order. */
async function stacked(submission: 'fifo' | 'sorted'): Promise<string[]> {
  const linux = await boot({ submission });
  const calls: string[] = [];
  const lower = new TestDevice('L');
  const note = (name: string, bio: Bio): void =>
    void calls.push(`${name}(${bio.bi_iter.bi_sector},${bio_sectors(bio)})`);
  lower.q.make_request_fn = function* (_q, bio) {
    note('L', bio);
    linux.bio_endio(bio);
  };
  const top = new TestDevice('T');
  top.q.make_request_fn = function* (_q, bio) {
    note('T', bio);
    let front = bio;
    if (bio_sectors(bio) > 8) {
      front = must(yield* linux.bio_split(bio, 8, GFP_NOIO, linux.fs_bio_set));
      linux.bio_chain(front, bio);
      yield* linux.generic_make_request(bio);
    }
    front.bi_bdev = lower;
    yield* linux.generic_make_request(front);
  };
  const bio = bioOf(linux, 3);
  bio.bi_bdev = top;
  assert.is(endOf(linux, bio), 0);
  return calls;
}

test('GMR-07 nested bios run first in, first out', async () => {
  assert.equal(await stacked('fifo'), ['T(0,24)', 'T(8,16)', 'L(0,8)', 'T(16,8)', 'L(8,8)', 'L(16,8)']);
});

test('GMR-20 sorted submission finishes the lower device first', async () => {
  assert.equal(await stacked('sorted'), ['T(0,24)', 'L(0,8)', 'T(8,16)', 'L(8,8)', 'T(16,8)', 'L(16,8)']);
});

test('GMR-20 what is submitted meanwhile goes before what waited already', async () => {
  const linux = await boot({ submission: 'sorted' });
  const lower = sink(linux);
  const calls: string[] = [];
  const device = (name: string, children: readonly TestDevice[]): TestDevice => {
    const made = new TestDevice(name);
    made.q.make_request_fn = function* (_q, bio) {
      calls.push(name);
      for (const child of children) yield* linux.generic_make_request(bioAt2(child));
      linux.bio_endio(bio);
    };
    return made;
  };
  const bioAt2 = (to: TestDevice): Bio => {
    const bio = must(linux.bio_kmalloc(GFP_KERNEL, 0));
    bio.bi_bdev = to;
    bio.bi_iter.bi_size = 512;
    return bio;
  };
  const top = device('top', [device('first', [device('below the first', [lower])]), device('second', [])]);
  inTask(linux, () => linux.generic_make_request(bioAt2(top)));
  assert.equal(calls, ['top', 'first', 'below the first', 'second']);
});

test('GMR-08 a dying queue ends the bio with -EIO, and the next one goes on', async () => {
  const linux = await boot();
  const [dying, alive] = [sink(linux, 'dying'), sink(linux, 'alive')];
  dying.q.dying = true;
  const ends: number[] = [];
  const children = [dying, alive].map((device) => {
    const bio = bioAt(linux, device, 0, 8);
    bio.bi_end_io = (_bio, error) => {
      ends.push(error);
    };
    return bio;
  });
  const upper = new TestDevice('upper');
  upper.q.make_request_fn = function* () {
    for (const child of children) yield* linux.generic_make_request(child);
  };
  const bio = bioAt(linux, upper, 0, 8);
  inTask(linux, () => linux.generic_make_request(bio));
  assert.equal([ends, dying.got.length, alive.got.length], [[-EIO, 0], 0, 1]);
});

test('GMR-09 submit_bio counts sectors, generic_make_request does not', async () => {
  const linux = await boot();
  const device = sink(linux);
  device.q.limits.max_write_same_sectors = 1000;
  device.q.discard = true;
  const { vm_events } = linux;
  const submit = (op: number, sectors: number): void => {
    const bio = Object.assign(bioAt(linux, device, 0, sectors), { bi_op: op });
    inTask(linux, () => linux.submit_bio(bio));
  };
  submit(REQ_OP_WRITE, 8);
  submit(0, 3);
  submit(REQ_OP_WRITE_SAME, 500); // one logical block
  submit(REQ_OP_DISCARD, 100);
  endOf(linux, bioAt(linux, device, 0, 50));
  assert.equal({ ...vm_events }, { pgpgin: 3, pgpgout: 9 });
});

test('GMR-09 a stacking driver that hands on by submit_bio is counted twice', async () => {
  const linux = await boot();
  const lower = sink(linux);
  const upper = new TestDevice('upper');
  upper.q.make_request_fn = function* (_q, bio) {
    bio.bi_bdev = lower;
    yield* linux.submit_bio(bio);
  };
  const bio = bioAt(linux, upper, 0, 8);
  inTask(linux, () => linux.submit_bio(bio));
  assert.equal({ ...linux.vm_events }, { pgpgin: 0, pgpgout: 16 });
});

test('GMR-10 without a reference the bio may be gone when submit returns', async () => {
  const linux = await boot();
  const device = sink(linux);
  const kept = bioAt(linux, device, 0, 8);
  kept.bi_end_io = (bio) => linux.bio_put(bio);
  linux.bio_get(kept);
  inTask(linux, () => linux.submit_bio(kept));
  assert.is(kept.live, true);
  linux.bio_put(kept);
  assert.is(kept.live, false);
});

test('outside of process context submission is a bug', async () => {
  const linux = await boot();
  const bio = bioAt(linux, sink(linux), 0, 8);
  assertBug('ctx-sleep', () => linux.kernel.scheduler.atomic(linux.submit_bio(bio)));
});

// ---- waiting

test('LIFE-21 submit_bio_wait sleeps until the end, forces SYNC and gives the error', async () => {
  const linux = await boot();
  const { scheduler } = linux.kernel;
  const device = new TestDevice('slow');
  device.q.make_request_fn = function* (_q, bio) {
    scheduler.spawn('device', function* () {
      yield* scheduler.delay(1e6);
      bio.bi_error = -EIO;
      linux.bio_endio(bio);
    });
  };
  const bio = bioAt(linux, device, 0, 8);
  bio.bi_private = 'mine';
  bio.bi_end_io = () => {
    throw new Error('not called');
  };
  assert.is(
    inTask(linux, () => linux.submit_bio_wait(bio)),
    -EIO,
  );
  assert.is(scheduler.now(), 1e6);
  assert.equal([bio.bi_opf & REQ_SYNC, bio.live], [REQ_SYNC, true]);
  assert.is.not(bio.bi_private, 'mine');
});

test('LIFE-21 submit_bio_wait of what ends at once returns 0', async () => {
  const linux = await boot();
  const bio = bioAt(linux, sink(linux), 0, 8);
  assert.is(
    inTask(linux, () => linux.submit_bio_wait(bio)),
    0,
  );
});

test('LIFE-21 DLK-07 submit_bio_wait under make_request waits for ever', async () => {
  const linux = await boot();
  const lower = sink(linux);
  const upper = new TestDevice('upper');
  const child = bioAt(linux, lower, 0, 8);
  upper.q.make_request_fn = function* () {
    yield* linux.submit_bio_wait(child);
  };
  const bio = bioAt(linux, upper, 0, 8);
  const report = assertDeadlock(() => inTask(linux, () => linux.submit_bio(bio)));
  const [task] = report.tasks;
  const nested = 'the bio for sink, sector 0';
  assert.equal([task?.what, task?.wakers], ['submit_bio_wait', `the end of ${nested}`]);
  const under = `test (${task?.pid}) is under a make_request function; until that returns these wait: ${nested}`;
  assert.equal(report.notes, [under]);
});
