import { KernelBug, type Page, type Sleeps } from '../../src/kernel/index.ts';
import {
  type Bio,
  BLK_EH_HANDLED,
  BLK_EH_RESET_TIMER,
  BLKPREP_DEFER,
  BLKPREP_KILL,
  BLKPREP_OK,
  bootLinux,
  EBADE,
  EIO,
  ENODATA,
  ENODEV,
  ENOLINK,
  ENOMEM,
  ENOSPC,
  ENXIO,
  EREMOTEIO,
  ETIMEDOUT,
  Gendisk,
  GFP_KERNEL,
  GFP_NOWAIT,
  IS_ERR,
  type LinuxApi,
  READ,
  REQ_QUIET,
  REQ_SYNC,
  REQ_TYPE_BLOCK_PC,
  type Request,
  type RequestQueue,
  WRITE,
} from '../../src/linux/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import { assert, suite } from '../run/suite.ts';
import { assertDeadlock } from './help.ts';

const test = suite('linux request');

const DELAY_NS = 1000;

/** A queue whose driver starts what it is given and leaves the end to the test. */
async function boot() {
  const machine = await createMachine({ ram: 'small', guard: false });
  const linux = bootLinux(machine);
  const started: Request[] = [];
  const q = linux.blk_init_queue((queue) => {
    for (let rq = linux.blk_fetch_request(queue); rq !== null; rq = linux.blk_fetch_request(queue))
      started.push(rq);
  });
  const disk = new Gendisk('vda', q);
  disk.part0.nr_sects = 4096;
  const { scheduler, warnings } = linux.kernel;
  const run = <T>(body: () => Sleeps<T>): T => scheduler.complete('test', body);
  const later = (body: () => void) => {
    scheduler.spawn('irq', function* () {
      yield* scheduler.delay(DELAY_NS);
      body();
    });
  };
  const rules = () => warnings.all.map(({ rule }) => rule);
  return { linux, q, disk, started, run, later, scheduler, warnings, rules };
}

function* getRequest(linux: LinuxApi, q: RequestQueue, rw = READ): Sleeps<Request> {
  const rq = yield* linux.blk_get_request(q, rw, GFP_KERNEL);
  assert.not(IS_ERR(rq));
  return rq as Request;
}

/** A bio for `pages` pages at a sector; `ended` gets its error. */
function* makeBio(
  linux: LinuxApi,
  disk: Gendisk,
  sector: number,
  pages: number,
  ended: number[],
): Sleeps<Bio> {
  const bio = (yield* linux.bio_alloc(GFP_KERNEL, pages)) as Bio;
  for (let i = 0; i < pages; i++) {
    linux.bio_add_page(bio, (yield* linux.alloc_page(GFP_KERNEL)) as Page, 4096, 0);
  }
  bio.bi_bdev = disk.part0;
  bio.bi_iter.bi_sector = sector;
  bio.bi_end_io = (self) => {
    ended.push(self.bi_error);
  };
  return bio;
}

const isBug = (rule: string) => (error: unknown) => error instanceof KernelBug && error.rule === rule;

test('REQ-01 a dying queue has no requests: -ENODEV', async () => {
  const { linux, q, run } = await boot();
  const result = run(function* () {
    yield* linux.blk_cleanup_queue(q);
    return yield* linux.blk_get_request(q, READ, GFP_KERNEL);
  });
  assert.is(result, -ENODEV);
});

test('REQ-01 without WAIT and without a free request the answer is -ENOMEM', async () => {
  const { linux, q, scheduler } = await boot();
  q.nr_requests = 1;
  const get = (rw: number) => scheduler.atomic(linux.blk_get_request(q, rw, GFP_NOWAIT));
  assert.not(IS_ERR(get(READ)));
  assert.is(get(READ), -ENOMEM);
  assert.not(IS_ERR(get(WRITE))); // the other class has requests of its own
});

test('REQ-01 with WAIT the caller sleeps until a request is put', async () => {
  const { linux, q, run, later, scheduler } = await boot();
  q.nr_requests = 1;
  const sleeps: string[] = [];
  linux.kernel.trace.listen({
    block_getrq: () => void sleeps.push('getrq'),
    block_sleeprq: () => void sleeps.push('sleeprq'),
  });
  run(function* () {
    const first = yield* getRequest(linux, q);
    later(() => linux.blk_put_request(first));
    const second = yield* getRequest(linux, q);
    assert.is(scheduler.now(), DELAY_NS);
    assert.ok(second === first);
  });
  assert.equal(sleeps, ['getrq', 'sleeprq', 'getrq']);
});

test('REQ-01 who waits when the queue dies gets -ENODEV, and the cleanup waits for what is out', async () => {
  const { linux, q, run, later, scheduler } = await boot();
  q.nr_requests = 1;
  const results: (Request | number)[] = [];
  run(function* () {
    const first = yield* getRequest(linux, q);
    const waiter = scheduler.spawn('waiter', function* () {
      results.push(yield* linux.blk_get_request(q, READ, GFP_KERNEL));
    });
    yield* scheduler.yieldNow();
    later(() => linux.blk_put_request(first));
    const before = scheduler.now();
    yield* linux.blk_cleanup_queue(q);
    assert.is(scheduler.now(), before + DELAY_NS);
    yield* scheduler.join(waiter);
  });
  assert.equal(results, [-ENODEV]);
});

test('REQ-01 any other direction than READ and WRITE is a bug', async () => {
  const { linux, q, run } = await boot();
  assert.throws(() => run(() => linux.blk_get_request(q, 2, GFP_KERNEL)), isBug('REQ-01'));
});

test('REQ-01 in 3.11 there is NULL instead of an errno', async () => {
  const { linux, q, scheduler } = await boot();
  q.nr_requests = 1;
  const get = () => scheduler.atomic(linux.v3.blk_get_request(q, READ, GFP_NOWAIT));
  assert.is(get()?.q, q);
  assert.is(get(), null);
});

test('REQ-02 blk_rq_set_block_pc marks passthrough and clears the command', async () => {
  const { linux, q, run } = await boot();
  run(function* () {
    const rq = yield* getRequest(linux, q);
    rq.cmd.fill(0xff);
    linux.blk_rq_set_block_pc(rq);
    assert.is(rq.cmd_type, REQ_TYPE_BLOCK_PC);
    assert.ok(rq.cmd.every((byte) => byte === 0));
    linux.blk_put_request(rq);
    const again = yield* getRequest(linux, q); // the same object, as new
    assert.ok(again === rq && again.cmd_type !== REQ_TYPE_BLOCK_PC);
  });
});

test('REQ-03 blk_execute_rq sleeps until the end and gives 0', async () => {
  const { linux, q, disk, started, run, later, scheduler } = await boot();
  const result = run(function* () {
    const rq = yield* getRequest(linux, q);
    linux.blk_rq_set_block_pc(rq);
    later(() => linux.blk_end_request_all(rq, 0));
    const outcome = yield* linux.blk_execute_rq(q, disk, rq, false);
    assert.ok(started[0] === rq && rq.rq_disk === disk);
    linux.blk_put_request(rq);
    return outcome;
  });
  assert.equal([result, scheduler.now(), q.in_flight], [0, DELAY_NS, 0]);
});

test('REQ-03 DLK-12 who waits for a request that never ends is told who has it', async () => {
  for (const stopped of [false, true]) {
    const { linux, q, disk, run } = await boot();
    if (stopped) linux.blk_stop_queue(q);
    const report = assertDeadlock(() =>
      run(function* () {
        const rq = yield* getRequest(linux, q);
        linux.blk_rq_set_block_pc(rq);
        yield* linux.blk_execute_rq(q, disk, rq, false);
      }),
    );
    assert.is(report.tasks[0]?.wakers, `the driver, which has ${stopped ? 'not taken' : 'started'} it`);
  }
});

test('REQ-03 any errors give -EIO, with sense and residual for who asks', async () => {
  const { linux, q, disk, run, later } = await boot();
  run(function* () {
    const rq = yield* getRequest(linux, q);
    linux.blk_rq_set_block_pc(rq);
    const sense = new Uint8Array(96);
    rq.sense = sense;
    later(() => {
      rq.errors = 2;
      rq.resid_len = 512;
      rq.sense?.set([0x70, 0, 5]);
      rq.sense_len = 18;
      linux.blk_end_request_all(rq, -EIO);
    });
    assert.is(yield* linux.blk_execute_rq(q, disk, rq, false), -EIO);
    assert.equal([rq.errors, rq.resid_len, rq.sense_len, sense[2]], [2, 512, 18, 5]);
    linux.blk_put_request(rq);
  });
});

test('REQ-03 who gives no sense buffer is lent one for the time of the command', async () => {
  const { linux, q, disk, run, later } = await boot();
  run(function* () {
    const rq = yield* getRequest(linux, q);
    linux.blk_rq_set_block_pc(rq);
    let lent = 0;
    later(() => {
      lent = rq.sense?.length ?? 0;
      linux.blk_end_request_all(rq, 0);
    });
    yield* linux.blk_execute_rq(q, disk, rq, false);
    assert.equal([lent, rq.sense], [96, null]);
    linux.blk_put_request(rq);
  });
});

test('REQ-03 on a dying queue done is called before the return, with -ENXIO', async () => {
  const { linux, q, disk, run } = await boot();
  const ends: number[] = [];
  run(function* () {
    const rq = yield* getRequest(linux, q);
    linux.blk_rq_set_block_pc(rq);
    q.dying = true;
    linux.blk_execute_rq_nowait(q, disk, rq, false, (self) => {
      ends.push(self.errors);
    });
    assert.equal(ends, [-ENXIO]);
  });
});

test('REQ-03 a request of a file system is a warning', async () => {
  const { linux, q, disk, run, rules } = await boot();
  run(function* () {
    const rq = yield* getRequest(linux, q);
    linux.blk_execute_rq_nowait(q, disk, rq, false, null);
  });
  assert.equal(rules(), ['REQ-03']);
});

test('REQ-03 at_head overtakes what waits', async () => {
  const { linux, q, disk, started, run } = await boot();
  linux.blk_stop_queue(q);
  run(function* () {
    const order: Request[] = [];
    for (const atHead of [false, false, true]) {
      const rq = yield* getRequest(linux, q);
      linux.blk_rq_set_block_pc(rq);
      order.push(rq);
      linux.blk_execute_rq_nowait(q, disk, rq, atHead, null);
    }
    const flags = q.queue_lock.lockIrqSave();
    linux.blk_start_queue(q);
    q.queue_lock.unlockIrqRestore(flags);
    assert.ok(started[0] === order[2] && started[1] === order[0] && started[2] === order[1]);
  });
});

test('REQ-04 bios end in order as bytes are done, and the sector moves on', async () => {
  const { linux, q, disk, started, run } = await boot();
  const ends: number[] = [];
  run(function* () {
    const first = yield* makeBio(linux, disk, 8, 2, ends);
    yield* linux.submit_bio(first);
    const rq = started[0] as Request;
    linux.blk_rq_append_bio(rq, yield* makeBio(linux, disk, 24, 1, ends));
    assert.equal([linux.blk_rq_pos(rq), linux.blk_rq_bytes(rq), linux.blk_rq_sectors(rq)], [8, 12288, 24]);
    assert.is(linux.blk_update_request(rq, 0, 4096), true);
    assert.equal([ends.length, linux.blk_rq_pos(rq), linux.blk_rq_bytes(rq)], [0, 16, 8192]);
    assert.is(linux.blk_rq_cur_bytes(rq), 4096);
    assert.is(linux.blk_update_request(rq, 0, 4096 + 512), true);
    assert.equal([ends.length, linux.blk_rq_pos(rq), linux.blk_rq_bytes(rq)], [1, 25, 3584]);
    assert.is(rq.nr_phys_segments, 1);
    assert.is(linux.blk_end_request(rq, 0, 3584), false);
    assert.equal([ends, q.in_flight, q.rl.count], [[0, 0], 0, [0, 0]]);
  });
});

test('REQ-04 a bio that has ended is in no list: its owner may submit it again', async () => {
  const { linux, q, disk, started, run } = await boot();
  run(function* () {
    linux.blk_stop_queue(q);
    const first = yield* makeBio(linux, disk, 0, 1, []);
    yield* linux.submit_bio(first);
    yield* linux.submit_bio(yield* makeBio(linux, disk, 8, 1, []));
    const flags = q.queue_lock.lockIrqSave();
    linux.blk_start_queue(q);
    q.queue_lock.unlockIrqRestore(flags);
    const [rq] = started as [Request];
    assert.is.not(first.bi_next, null);
    assert.is(linux.blk_end_request(rq, 0, 4096), true);
    assert.is(first.bi_next, null);
    linux.blk_end_request_all(rq, 0);
  });
});

test('REQ-04 an error once set on a bio stays', async () => {
  const { linux, disk, started, run } = await boot();
  const ends: number[] = [];
  run(function* () {
    yield* linux.submit_bio(yield* makeBio(linux, disk, 0, 2, ends));
    const rq = started[0] as Request;
    assert.is(linux.blk_end_request(rq, -EIO, 4096), true);
    assert.is(linux.blk_end_request(rq, 0, 4096), false);
  });
  assert.equal(ends, [-EIO]);
});

test('REQ-04 a passthrough request has no sector that could move on', async () => {
  const { linux, q, disk, run } = await boot();
  run(function* () {
    const rq = yield* getRequest(linux, q);
    linux.blk_rq_set_block_pc(rq);
    linux.blk_rq_append_bio(rq, yield* makeBio(linux, disk, 0, 2, []));
    assert.is(linux.blk_rq_pos(rq), -1);
    linux.blk_update_request(rq, 0, 512);
    assert.is(linux.blk_rq_pos(rq), -1);
  });
});

test('REQ-04 each errno has its class of message, quiet requests have none', async () => {
  const { linux, disk, started, run, warnings } = await boot();
  const fail = (error: number, flags = 0): string => {
    const before = warnings.all.length;
    run(function* () {
      yield* linux.submit_bio(yield* makeBio(linux, disk, -error * 8, 1, []));
    });
    const rq = started.pop() as Request;
    rq.cmd_flags |= flags;
    linux.blk_end_request_all(rq, error);
    return warnings.all.slice(before).map(({ what, where }) => `${what}, ${where}`)[0] ?? '';
  };
  const say = (error: number) => fail(error).replace(/, dev.*/, '');
  assert.is(fail(-EIO), `I/O error, dev vda, sector ${EIO * 8}`);
  assert.is(say(-ENOLINK), 'recoverable transport error');
  assert.is(say(-EREMOTEIO), 'critical target error');
  assert.is(say(-EBADE), 'critical nexus error');
  assert.is(say(-ETIMEDOUT), 'timeout error');
  assert.is(say(-ENOSPC), 'critical space allocation error');
  assert.is(say(-ENODATA), 'critical medium error');
  assert.is(say(-ENOMEM), 'I/O error');
  assert.is(fail(-ENXIO, REQ_QUIET), '');
});

test('REQ-04 a second end of the same request is a bug', async () => {
  const { linux, disk, started, run } = await boot();
  run(function* () {
    yield* linux.submit_bio(yield* makeBio(linux, disk, 0, 1, []));
  });
  const rq = started[0] as Request;
  linux.blk_end_request_all(rq, 0);
  assert.throws(() => linux.blk_end_request_all(rq, 0), isBug('done-twice'));
});

test('REQ-05 put with its bio is reported as a leak of the bio', async () => {
  const { linux, q, disk, run, rules } = await boot();
  run(function* () {
    const rq = yield* getRequest(linux, q);
    linux.blk_rq_append_bio(rq, yield* makeBio(linux, disk, 0, 1, []));
    linux.blk_put_request(rq);
  });
  assert.equal(rules(), ['REQ-05']);
  assert.is(q.rl.count[1], 0);
});

test('REQ-05 a put too many is a bug', async () => {
  const { linux, q, run } = await boot();
  run(function* () {
    const rq = yield* getRequest(linux, q);
    linux.blk_put_request(rq);
    assert.throws(() => linux.blk_put_request(rq), isBug('REQ-05'));
  });
});

test('a started request can be requeued, and is the next then', async () => {
  const { linux, q, disk, started, run } = await boot();
  run(function* () {
    yield* linux.submit_bio(yield* makeBio(linux, disk, 0, 1, []));
    const [first] = started.splice(0) as [Request];
    linux.blk_stop_queue(q);
    yield* linux.submit_bio(yield* makeBio(linux, disk, 8, 1, []));
    const flags = q.queue_lock.lockIrqSave();
    linux.blk_requeue_request(q, first);
    assert.equal([q.in_flight, q.head === first], [0, true]);
    linux.blk_start_queue(q);
    q.queue_lock.unlockIrqRestore(flags);
    assert.equal([started.length, started[0] === first, q.in_flight], [2, true, 2]);
  });
});

test('prep_rq_fn can put a request off or kill it', async () => {
  const { linux, q, disk, started, run } = await boot();
  const answers = [BLKPREP_DEFER, BLKPREP_KILL, BLKPREP_OK];
  linux.blk_queue_prep_rq(q, () => answers.shift() ?? BLKPREP_OK);
  const ends: number[] = [];
  run(function* () {
    yield* linux.submit_bio(yield* makeBio(linux, disk, 0, 1, ends));
    assert.equal([started.length, q.in_flight], [0, 0]);
    yield* linux.submit_bio(yield* makeBio(linux, disk, 8, 1, ends));
    assert.equal([started.length, ends], [1, [-EIO]]);
  });
});

test('a request that takes too long is the time-out function’s, which may give it more time', async () => {
  const { linux, q, disk, run, scheduler } = await boot();
  const times: number[] = [];
  linux.blk_queue_rq_timeout(q, 5000);
  linux.blk_queue_softirq_done(q, (rq) => linux.blk_end_request_all(rq, -ETIMEDOUT));
  linux.blk_queue_rq_timed_out(q, () => {
    times.push(scheduler.now());
    return times.length < 2 ? BLK_EH_RESET_TIMER : BLK_EH_HANDLED;
  });
  const ends: number[] = [];
  run(function* () {
    yield* linux.submit_bio(yield* makeBio(linux, disk, 0, 1, ends));
    yield* scheduler.delay(20000);
  });
  assert.equal([times, ends], [[5000, 10000], [-ETIMEDOUT]]);
});

test('a request that has ended does not time out', async () => {
  const { linux, q, disk, started, run, scheduler } = await boot();
  let timeouts = 0;
  linux.blk_queue_rq_timeout(q, 5000);
  linux.blk_queue_rq_timed_out(q, () => ++timeouts);
  const done: Request[] = [];
  linux.blk_queue_softirq_done(q, (rq) => {
    done.push(rq);
  });
  run(function* () {
    yield* linux.submit_bio(yield* makeBio(linux, disk, 0, 1, []));
    const rq = started[0] as Request;
    linux.blk_complete_request(rq);
    linux.blk_complete_request(rq); // the second one comes too late
    yield* scheduler.delay(6000);
    linux.blk_end_request_all(rq, 0);
    yield* scheduler.delay(20000);
  });
  assert.equal([timeouts, done.length], [0, 1]);
});

test('requests that time out at the same moment all do, and later ones later', async () => {
  const { linux, q, disk, run, scheduler } = await boot();
  const times: number[] = [];
  linux.blk_queue_rq_timeout(q, 5000);
  linux.blk_queue_softirq_done(q, (rq) => linux.blk_end_request_all(rq, -ETIMEDOUT));
  linux.blk_queue_rq_timed_out(q, () => {
    times.push(scheduler.now());
    return BLK_EH_HANDLED;
  });
  const ends: number[] = [];
  run(function* () {
    yield* linux.submit_bio(yield* makeBio(linux, disk, 0, 1, ends));
    yield* linux.submit_bio(yield* makeBio(linux, disk, 100, 1, ends));
    yield* scheduler.delay(2000);
    yield* linux.submit_bio(yield* makeBio(linux, disk, 200, 1, ends));
    yield* scheduler.delay(20000);
  });
  assert.equal(times, [5000, 5000, 7000]);
  assert.equal(ends, [-ETIMEDOUT, -ETIMEDOUT, -ETIMEDOUT]);
});

test('a request with less time than those before it times out before them', async () => {
  const { linux, q, disk, run, scheduler } = await boot();
  const times: [number, number][] = [];
  const limits = [9000, 3000];
  linux.blk_queue_prep_rq(q, (_q, rq) => {
    rq.timeout = limits.shift() ?? 0;
    return BLKPREP_OK;
  });
  linux.blk_queue_softirq_done(q, (rq) => linux.blk_end_request_all(rq, -ETIMEDOUT));
  linux.blk_queue_rq_timed_out(q, (rq) => {
    times.push([rq.__sector, scheduler.now()]);
    return BLK_EH_HANDLED;
  });
  run(function* () {
    yield* linux.submit_bio(yield* makeBio(linux, disk, 0, 1, []));
    yield* linux.submit_bio(yield* makeBio(linux, disk, 100, 1, []));
    yield* scheduler.delay(20000);
  });
  assert.equal(times, [
    [100, 3000],
    [0, 9000],
  ]);
});

test('no time passes for a request that has ended or was put back', async () => {
  const { linux, q, disk, started, run, scheduler } = await boot();
  let timeouts = 0;
  linux.blk_queue_rq_timeout(q, 5000);
  linux.blk_queue_rq_timed_out(q, () => ++timeouts);
  const rq = run(function* () {
    yield* linux.submit_bio(yield* makeBio(linux, disk, 0, 1, []));
    linux.blk_stop_queue(q);
    return started[0] as Request;
  });
  const requeue = q.queue_lock.lockIrqSave();
  linux.blk_requeue_request(q, rq);
  q.queue_lock.unlockIrqRestore(requeue);
  scheduler.run();
  assert.equal([scheduler.now(), timeouts], [0, 0]);
  const restart = q.queue_lock.lockIrqSave();
  linux.blk_start_queue(q);
  q.queue_lock.unlockIrqRestore(restart);
  linux.blk_end_request_all(rq, 0);
  scheduler.run();
  assert.equal([scheduler.now(), timeouts], [0, 0]);
});

test('what prep_rq_fn prepared is undone once, at the end of the request', async () => {
  const { linux, q, disk, started, run } = await boot();
  const calls: string[] = [];
  linux.blk_queue_prep_rq(q, () => {
    calls.push('prep');
    return BLKPREP_OK;
  });
  linux.blk_queue_unprep_rq(q, () => void calls.push('unprep'));
  run(function* () {
    yield* linux.submit_bio(yield* makeBio(linux, disk, 0, 1, []));
  });
  linux.blk_end_request_all(started[0] as Request, 0);
  assert.equal(calls, ['prep', 'unprep']);
});

test('synchronous writes are counted with the reads', async () => {
  const { linux, q, disk, run } = await boot();
  run(function* () {
    const bio = yield* makeBio(linux, disk, 0, 1, []);
    bio.bi_op = WRITE;
    yield* linux.submit_bio(bio);
    assert.equal(q.rl.count, [1, 0]);
    const sync = yield* makeBio(linux, disk, 0, 1, []);
    sync.bi_op = WRITE;
    sync.bi_opf = REQ_SYNC;
    yield* linux.submit_bio(sync);
    assert.equal(q.rl.count, [1, 1]);
  });
});
