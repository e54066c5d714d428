// The lives of commands and elements, and the contexts that code runs in: for each rule the program that makes the
// mistake, and its twin that does it right and is silent.

import type { Driver, DriverCommand } from '../../src/drivers/index.ts';
import type { Finding, Rule } from '../../src/guard/index.ts';
import { KernelBug, PAGE_SIZE, type Page, type Sleeps, SpinLock, Timer } from '../../src/kernel/index.ts';
import {
  type Bio,
  bootLinux,
  Device,
  DMA_TO_DEVICE,
  type Gendisk,
  GFP_ATOMIC,
  GFP_KERNEL,
  IS_ERR,
  type LinuxOptions,
  READ,
  REQ_OP_READ,
  REQ_OP_WRITE,
} from '../../src/linux/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import { altered } from '../drivers/altered.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('guard life');

const INQUIRY = 0x12;
/** Bytes of 512 that the disk does not answer with. */
const RESIDUAL = 512 - 36;

/** Ends each command twice. */
function twice(driver: Driver): Partial<Driver> {
  return {
    submit(command: DriverCommand): boolean {
      const { done } = command;
      command.done = (ended) => {
        command.done = done;
        done.call(command, ended);
        done.call(command, ended);
      };
      return driver.submit(command);
    },
  };
}

/** Forgets the first command that it is given. */
function forgetful(driver: Driver): Partial<Driver> {
  let lost: DriverCommand | null = null;
  return {
    submit(command: DriverCommand): boolean {
      if (lost !== null) return driver.submit(command);
      lost = command;
      return true;
    },
    abort(command: DriverCommand): void {
      if (command !== lost) {
        driver.abort(command);
        return;
      }
      command.status = 'aborted';
      command.done(command);
    },
  };
}

async function boot(kind = 'ahci', change: (driver: Driver) => Partial<Driver> = () => ({})) {
  const machine = await createMachine({ ram: 'default', flavour: 'debug', diskBytes: 2 ** 20 });
  const controller = machine.addController({ kind });
  const disk = machine.addDisk({ bytes: 2 ** 20 });
  controller.attach(disk, 0);
  const linux = bootLinux(machine, { lockOrder: true });
  const attach = kind === 'ahci' ? { attach: altered(change) } : {};
  const host = linux.scsi_add_host(controller, { timeoutNs: 1e9, ...attach });
  const [gendisk] = host.disks as [Gendisk];
  const { allocator, scheduler } = linux.kernel;
  const page = (from = 0): Page => allocator.alloc({ from, zero: true }) as Page;
  const dev = new Device(controller, 'probe');
  function* read(pages: readonly Page[], set = linux.fs_bio_set): Sleeps<Bio> {
    const bio = (yield* linux.bio_alloc_bioset(GFP_KERNEL, pages.length, set)) as Bio;
    for (const one of pages) linux.bio_add_page(bio, one, PAGE_SIZE, 0);
    bio.bi_bdev = gendisk.part0;
    bio.bi_op = REQ_OP_READ;
    bio.bi_iter.bi_sector = 8;
    return bio;
  }
  function* transfer(op: number, pages: readonly Page[]): Sleeps<number> {
    const bio = yield* read(pages);
    bio.bi_op = op;
    const error = yield* linux.submit_bio_wait(bio);
    linux.bio_put(bio);
    return error;
  }
  const run = <T>(body: () => Sleeps<T>): T => scheduler.complete('test', body);
  return { machine, gendisk, linux, dev, disk, page, run, read, transfer };
}

function only(found: readonly Finding[], rule: Rule): Finding {
  assert.equal(
    found.map((finding) => finding.rule),
    [rule],
  );
  return (found as [Finding])[0];
}

test('done-twice a driver ends a command once more', async () => {
  const { machine, page, run, transfer } = await boot('ahci', twice);
  const data = page();
  run(() => transfer(REQ_OP_READ, [data]));
  const finding = only(machine.guard.findings(), 'done-twice');
  assert.is(finding.device, 'ahci.0');
  assert.match(finding.message, 'read, sector 8');
  assert.equal([finding.address, finding.direction], [data.phys, 'write']);
});

test('done-lost a driver forgets a command', async () => {
  const { machine, page, run, transfer } = await boot('ahci', forgetful);
  const data = page();
  assert.ok(run(() => transfer(REQ_OP_WRITE, [data])) <= 0);
  const finding = only(machine.guard.findings(), 'done-lost');
  assert.equal([finding.device, finding.address, finding.length], ['ahci.0', data.phys, PAGE_SIZE]);
  assert.is(finding.direction, 'read');
});

test('done-lost, done-twice the twin ends each command once, a slow disk is not a lost command', async () => {
  const { machine, disk, page, run, transfer } = await boot();
  const data = page();
  run(() => transfer(REQ_OP_READ, [data]));
  machine.addFault({ disk, kind: 'delay', times: 1, argument: 1e15 });
  run(() => transfer(REQ_OP_READ, [data])); // given up, and tried again
  assert.equal(machine.guard.findings(), []);
});

test('done-short a command is answered in part, and nobody looks at resid_len', async () => {
  for (const looks of [false, true]) {
    const { machine, gendisk, linux, page, run } = await boot();
    run(function* () {
      const { queue } = gendisk;
      const rq = yield* linux.blk_get_request(queue, READ, GFP_KERNEL);
      if (IS_ERR(rq)) throw new Error('no request');
      linux.blk_rq_set_block_pc(rq);
      rq.cmd.set([INQUIRY, 0, 0, 0, 255, 0]);
      rq.cmd_len = 6;
      assert.is(yield* linux.blk_rq_map_kern(queue, rq, page().phys, 512, GFP_KERNEL), 0);
      assert.is(yield* linux.blk_execute_rq(queue, gendisk, rq, false), 0);
      if (looks) assert.is(rq.resid_len, RESIDUAL);
      linux.blk_put_request(rq);
    });
    const found = machine.guard.findings();
    if (looks) assert.equal(found, []);
    else {
      const finding = only(found, 'done-short');
      assert.equal(
        [finding.device, finding.length, finding.direction],
        [gendisk.disk_name, RESIDUAL, 'write'],
      );
      assert.match(finding.message, 'command 0x12');
    }
  }
});

test('pool-exhausted a mapping finds no room in the software I/O TLB', async () => {
  for (const count of [2, 3]) {
    const machine = await createMachine({ ram: 'default', diskBytes: 2 ** 20 });
    const controller = machine.addController({ kind: 'ahci' });
    const options: LinuxOptions = { swiotlb: { bytes: 8192 } };
    const linux = bootLinux(machine, options);
    const dev = new Device(controller, 'probe'); // 32 bits
    const page = linux.kernel.allocator.alloc({ from: 2 ** 32, zero: true }) as Page;
    const mapped = Array.from({ length: count }, () => {
      const addr = linux.dma_map_page(dev, page, 0, PAGE_SIZE, DMA_TO_DEVICE, 'here');
      return linux.dma_mapping_error(dev, addr) === 0 ? addr : 0;
    });
    for (const addr of mapped) if (addr !== 0) linux.dma_unmap_page(dev, addr, PAGE_SIZE, DMA_TO_DEVICE);
    const found = machine.guard.findings();
    if (count === 2) assert.equal(found, []);
    else {
      const finding = only(found, 'pool-exhausted');
      assert.equal([finding.device, finding.address, finding.length], ['probe', page.phys, PAGE_SIZE]);
      assert.is(finding.direction, 'read');
      assert.match(finding.message, 'here');
    }
  }
});

test('pool-use-after-free a page is written after it was given back', async () => {
  for (const late of [true, false]) {
    const { machine, linux, run } = await boot();
    const pool = linux.mempool_create_page_pool(1, 0);
    if (pool === null) throw new Error('no pool');
    let at = 0;
    run(function* () {
      linux.kernel.faults.mempool.failAll();
      const page = (yield* linux.mempool_alloc(pool, GFP_KERNEL)) as Page;
      at = page.phys + 100;
      if (!late) machine.memory.fill(at, 1, 8);
      linux.mempool_free(page, pool);
      for (let i = 0; late && i < 2; i++) machine.memory.fill(at, 1, 8); // told once
      const again = (yield* linux.mempool_alloc(pool, GFP_KERNEL)) as Page;
      machine.memory.fill(again.phys, 1, PAGE_SIZE); // whose it is now
      linux.mempool_free(again, pool);
      linux.mempool_destroy(pool);
      machine.memory.fill(at, 1, 8); // the allocator's
    });
    const found = machine.guard.findings();
    if (late) {
      const finding = only(found, 'pool-use-after-free');
      assert.equal([finding.address, finding.length, finding.direction], [at, 8, 'write']);
      assert.match(finding.message, 'pages of order 0');
    } else assert.equal(found, []);
  }
});

test('free-mapped an element of a pool is given back while a device has it', async () => {
  for (const early of [true, false]) {
    const { machine, linux, dev, run } = await boot();
    const pool = linux.mempool_create_kmalloc_pool(1, 512);
    if (pool === null) throw new Error('no pool');
    run(function* () {
      linux.kernel.faults.mempool.failAll();
      const at = (yield* linux.mempool_alloc(pool, GFP_KERNEL)) as number;
      const addr = linux.dma_map_single(dev, at, 512, DMA_TO_DEVICE, 'here');
      linux.dma_mapping_error(dev, addr);
      if (early) linux.mempool_free(at, pool);
      linux.dma_unmap_single(dev, addr, 512, DMA_TO_DEVICE);
      if (!early) linux.mempool_free(at, pool);
    });
    const found = machine.guard.findings();
    if (early) assert.match(only(found, 'free-mapped').message, 'given back to kmalloc-512');
    else assert.equal(found, []);
  }
});

test('pool-use-after-free a bio is put before its end, which its submitter has no reference for', async () => {
  for (const early of [true, false]) {
    const { machine, linux, page, run, read } = await boot();
    run(function* () {
      const bio = yield* read([page()]);
      if (!early) linux.bio_get(bio);
      let ended = false;
      bio.bi_end_io = () => {
        ended = true;
      };
      yield* linux.submit_bio(bio);
      linux.bio_put(bio);
      if (early) return;
      yield* linux.kernel.scheduler.delay(1e9);
      assert.ok(ended);
      linux.bio_put(bio);
    });
    const found = machine.guard.findings();
    if (early) {
      const finding = only(found, 'pool-use-after-free');
      assert.match(finding.message, 'sector 8');
      assert.is(finding.length, PAGE_SIZE);
    } else assert.equal(found, []);
  }
});

test('pool-nested a second bio is awaited with the first one not submitted', async () => {
  for (const nested of [true, false]) {
    const { machine, linux, run, page, read } = await boot();
    const set = linux.bioset_create(1, 0);
    if (set === null) throw new Error('no set');
    run(function* () {
      const { mempool } = linux.kernel.faults;
      mempool.failAll();
      const first = yield* read([page()], set);
      if (!nested) {
        first.bi_end_io = () => linux.bio_put(first);
        yield* linux.submit_bio(first);
      }
      const { scheduler } = linux.kernel;
      scheduler.armTimer(new Timer('memory comes back', () => mempool.off()), machine.now() + 1e9);
      const second = yield* read([page()], set);
      linux.bio_put(second);
      if (nested) linux.bio_put(first);
    });
    const found = machine.guard.findings();
    if (nested)
      assert.match(only(found, 'pool-nested').message, /^test waits for .*bioset.*not submitted.*sector 8/);
    else assert.equal(found, []);
  }
});

test('ctx-sleep something that may sleep is called under a spin lock', async () => {
  const { machine, linux } = await boot();
  const { cpu, scheduler } = linux.kernel;
  const lock = new SpinLock(cpu, 'lock');
  const pool = linux.mempool_create_kmalloc_pool(1, 64);
  if (pool === null) throw new Error('no pool');
  const take = (gfp: number): void => {
    scheduler.complete('test', function* () {
      lock.lock();
      try {
        linux.mempool_free(linux.mempool_try_alloc(pool, gfp), pool);
      } finally {
        lock.unlock();
      }
    });
  };
  take(GFP_ATOMIC);
  assert.equal(machine.guard.findings(), []);
  assert.throws(
    () => take(GFP_KERNEL),
    (error: Error) => error instanceof KernelBug && error.rule === 'ctx-sleep',
  );
  assert.match(only(machine.guard.findings(), 'ctx-sleep').message, 'mempool_alloc');
});

test('lock-order two locks are taken in both orders', async () => {
  const { machine, linux } = await boot();
  const { cpu, scheduler } = linux.kernel;
  const [a, b] = [new SpinLock(cpu, 'lock a'), new SpinLock(cpu, 'lock b')];
  const both = (first: SpinLock, second: SpinLock): void => {
    scheduler.complete('test', function* () {
      first.lock();
      second.lock();
      second.unlock();
      first.unlock();
    });
  };
  for (let i = 0; i < 2; i++) both(a, b);
  assert.equal(machine.guard.findings(), []);
  both(b, a);
  assert.match(only(machine.guard.findings(), 'lock-order').message, 'lock a');
});
