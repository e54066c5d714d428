// What processes and layered drivers do with a device, and what its driver hears of it (cb_ops(9S)).

import { type AddressSpace, PAGE_SIZE, type Sleeps } from '../../src/kernel/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import {
  AioReq,
  B_READ,
  type Buf,
  bootSolaris,
  type CbOps,
  Cred,
  DDI_PSEUDO,
  DDI_SUCCESS,
  DevInfo,
  EBADF,
  EBUSY,
  EIO,
  ENOTSUP,
  ENXIO,
  FKIOCTL,
  FLP64,
  FREAD,
  FWRITE,
  getminor,
  kcred,
  makedevice,
  OTYP_BLK,
  OTYP_CHR,
  OTYP_LYR,
  Pointer,
  S_IFBLK,
  S_IFCHR,
  type SolarisApi,
  type SpecFile,
  UIO_READ,
  UIO_WRITE,
  Uio,
} from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import { aBuf, assertBug, asUser, BASE, filled, inThread, must, pattern, peek } from './help.ts';

const test = suite('solaris specfs');

interface Rig {
  readonly solaris: SolarisApi;
  /** What the driver heard. */
  readonly calls: string[];
  readonly dip: DevInfo;
  /** The device number of minor number 0. */
  readonly dev: number;
}

/** A driver `xx` with nodes `a`, `b` (character) and `d` (block) that writes down who opens and closes. */
async function boot(ops: Partial<CbOps> = {}): Promise<Rig> {
  const machine = await createMachine({ ram: 'small', guard: false });
  const solaris = bootSolaris(machine);
  const dip = new DevInfo(machine.addController({ kind: 'ahci' }), 'xx');
  const calls: string[] = [];
  const cb_ops: CbOps = {
    cb_open: (devp, flag, otyp) => {
      calls.push(`open ${getminor(must(devp.value))} ${flag} ${otyp}`);
      return 0;
    },
    cb_close: (dev, flag, otyp) => {
      calls.push(`close ${getminor(dev)} ${flag} ${otyp}`);
      return 0;
    },
    ...ops,
  };
  const devo_attach = (one: DevInfo): number => {
    for (const [minor, name] of ['a', 'b'].entries())
      solaris.ddi_create_minor_node(one, name, S_IFCHR, minor, DDI_PSEUDO, 0);
    return solaris.ddi_create_minor_node(one, 'd', S_IFBLK, 0, DDI_PSEUDO, 0);
  };
  const devo_detach = (): number => DDI_SUCCESS;
  solaris.mod_install({ drv_name: 'xx', drv_dev_ops: { devo_attach, devo_detach, devo_cb_ops: cb_ops } });
  assert.is(
    inThread(solaris, () => solaris.devi_attach(dip)),
    DDI_SUCCESS,
  );
  return { solaris, calls, dip, dev: makedevice(solaris.ddi_driver_major(dip), 0) };
}

function* open(solaris: SolarisApi, name = 'a', flag = FREAD | FWRITE): Sleeps<SpecFile> {
  const filep = new Pointer<SpecFile>();
  assert.is(yield* solaris.spec_open(`xx@0:${name}`, flag, filep), 0);
  return must(filep.value);
}

function* lyr(solaris: SolarisApi): Sleeps<SpecFile> {
  const lhp = new Pointer<SpecFile>();
  assert.is(yield* solaris.ldi_open_by_name('xx@0:d', FREAD, kcred, lhp), 0);
  return must(lhp.value);
}

/** Calls of the driver since the last look. */
const heard = ({ calls }: Rig): string[] => calls.splice(0);

test('DRV-02 close comes once, after the last close of a type of open of a minor number', async () => {
  const r = await boot();
  const { solaris } = r;
  inThread(solaris, function* () {
    const [one, two, other, block] = [
      yield* open(solaris, 'a', FREAD),
      yield* open(solaris, 'a', FWRITE),
      yield* open(solaris, 'b', FREAD),
      yield* open(solaris, 'd', FREAD),
    ];
    assert.equal(heard(r), [
      `open 0 1 ${OTYP_CHR}`,
      `open 0 2 ${OTYP_CHR}`,
      `open 1 1 ${OTYP_CHR}`,
      `open 0 1 ${OTYP_BLK}`,
    ]);
    yield* solaris.spec_close(one);
    assert.equal(heard(r), []);
    yield* solaris.spec_close(block);
    assert.equal(heard(r), [`close 0 1 ${OTYP_BLK}`]);
    yield* solaris.spec_close(two);
    assert.equal(heard(r), [`close 0 2 ${OTYP_CHR}`]);
    yield* solaris.spec_close(other);
    assert.equal(heard(r), [`close 1 1 ${OTYP_CHR}`]);
    yield* solaris.spec_close(yield* open(solaris));
    assert.equal(heard(r), [`open 0 3 ${OTYP_CHR}`, `close 0 3 ${OTYP_CHR}`]);
  });
  const bug = assertBug('spec-closed', () =>
    inThread(solaris, function* () {
      const file = yield* open(solaris);
      yield* solaris.spec_close(file);
      yield* solaris.spec_close(file);
    }),
  );
  assert.is(bug.where, 'spec_close');
});

test('DRV-02 layered opens are closed one by one', async () => {
  const r = await boot();
  const { solaris } = r;
  inThread(solaris, function* () {
    const [one, two] = [yield* lyr(solaris), yield* lyr(solaris)];
    const block = yield* open(solaris, 'd');
    heard(r);
    yield* solaris.ldi_close(one, FREAD, kcred);
    assert.equal(heard(r), [`close 0 1 ${OTYP_LYR}`]);
    yield* solaris.spec_close(block);
    assert.equal(heard(r), [`close 0 3 ${OTYP_BLK}`]);
    yield* solaris.ldi_close(two, FREAD, kcred);
    assert.equal(heard(r), [`close 0 1 ${OTYP_LYR}`]);
  });
});

test('DRV-02 an open that fails is not closed, but one before it is when all are gone', async () => {
  let wait = 0;
  const r = await boot({
    *cb_open() {
      if (wait === 0) return 0;
      yield* r.solaris.kernel.scheduler.delay(wait);
      return EBUSY;
    },
  });
  const { solaris } = r;
  inThread(solaris, function* () {
    wait = 1000;
    const filep = new Pointer<SpecFile>();
    assert.is(yield* solaris.spec_open('xx@0:a', FREAD, filep), EBUSY);
    assert.is(filep.value, null);
    assert.is(yield* solaris.ldi_open_by_name('xx@0:d', FREAD, kcred, filep), EBUSY);
    assert.equal([heard(r), solaris.spec_opens(r.dip)], [[], 0]);
    wait = 0;
    const file = yield* open(solaris);
    wait = 1000;
    const late = solaris.kernel.scheduler.spawn('late', () => solaris.spec_open('xx@0:a', FREAD, filep));
    yield* solaris.kernel.scheduler.yieldNow();
    yield* solaris.spec_close(file);
    assert.equal(heard(r), [], 'an open is under way');
    assert.is(yield* solaris.kernel.scheduler.join(late), EBUSY);
    assert.equal(heard(r), [`close 0 1 ${OTYP_CHR}`]);
  });
});

test('DRV-02 an open that gives another minor number is counted there', async () => {
  let next = 10;
  const r = await boot({
    cb_open: (devp) => {
      devp.value = makedevice(Math.floor(must(devp.value) / 2 ** 32), next++);
      return 0;
    },
  });
  const { solaris } = r;
  inThread(solaris, function* () {
    const [one, two] = [yield* open(solaris), yield* open(solaris)];
    yield* solaris.spec_close(two);
    yield* solaris.spec_close(one);
    assert.equal(heard(r), [`close 11 3 ${OTYP_CHR}`, `close 10 3 ${OTYP_CHR}`]);
  });
});

test('reads and writes reach the driver as a uio, and the file moves on by what was moved', async () => {
  const memory = pattern(64);
  const seen: (readonly number[])[] = [];
  const r = await boot({
    *cb_read(_dev, uiop) {
      seen.push([uiop.uio_loffset, uiop.uio_resid]);
      if (uiop.uio_loffset >= 64) return EIO;
      return yield* r.solaris.uiomove(
        memory.slice(uiop.uio_loffset),
        Math.min(uiop.uio_resid, 64 - uiop.uio_loffset),
        UIO_READ,
        uiop,
      );
    },
    *cb_write(_dev, uiop) {
      seen.push([uiop.uio_loffset, uiop.uio_resid]);
      const bytes = new Uint8Array(uiop.uio_resid);
      const at = uiop.uio_loffset;
      const error = yield* r.solaris.uiomove(bytes, bytes.length, UIO_WRITE, uiop);
      memory.set(bytes, at);
      return error;
    },
  });
  const { solaris } = r;
  asUser(solaris, function* (as: AddressSpace) {
    const bytes = yield* filled(solaris, as, 1);
    const file = yield* open(solaris);
    const donep = new Pointer<number>();
    assert.is(yield* solaris.spec_read(file, BASE, 40, donep), 0);
    assert.equal([donep.value, file.offset], [40, 40]);
    assert.equal(yield* peek(solaris, as, BASE, 40), memory.slice(0, 40));
    assert.is(yield* solaris.spec_read(file, BASE, 40, donep), 0);
    assert.equal([donep.value, file.offset], [24, 64], 'a short read');
    assert.is(yield* solaris.spec_read(file, BASE, 40, donep), EIO);
    assert.equal([donep.value, file.offset], [0, 64]);
    assert.is(yield* solaris.spec_pwrite(file, BASE + 100, 8, 16, donep), 0);
    assert.equal([donep.value, file.offset], [8, 64]);
    assert.equal(memory.slice(16, 24), bytes.slice(100, 108));
    assert.is(yield* solaris.spec_pread(file, BASE, 4, 16, donep), 0);
    file.offset = 0;
    assert.is(yield* solaris.spec_write(file, BASE + 200, 4, donep), 0);
    assert.equal([file.offset, memory[0]], [4, bytes[200]]);
    assert.equal(seen, [
      [0, 40],
      [40, 40],
      [64, 40],
      [16, 8],
      [16, 4],
      [0, 4],
    ]);
    yield* solaris.spec_close(file);
  });
});

test('who did not open for it neither reads nor writes; block devices have no cache; what is missing is ENXIO', async () => {
  const r = await boot({ cb_read: () => 0, cb_write: () => 0 });
  const { solaris } = r;
  inThread(solaris, function* () {
    const donep = new Pointer<number>();
    const reader = yield* open(solaris, 'a', FREAD);
    const writer = yield* open(solaris, 'a', FWRITE);
    const block = yield* open(solaris, 'd');
    assert.is(yield* solaris.spec_write(reader, BASE, 1, donep), EBADF);
    assert.is(yield* solaris.spec_read(writer, BASE, 1, donep), EBADF);
    assert.is(yield* solaris.spec_read(reader, BASE, 1, donep), 0);
    assert.is(yield* solaris.spec_read(block, BASE, 1, donep), ENOTSUP);
    const req = new AioReq(new Uio({ iov: [] }));
    assert.is(yield* solaris.spec_aread(writer, req), EBADF);
    assert.is(yield* solaris.spec_awrite(reader, req), EBADF);
    assert.is(yield* solaris.spec_aread(reader, req), ENOTSUP, 'no cb_aread');
    assert.is(yield* solaris.spec_ioctl(reader, 1, 2, donep), ENXIO);
  });
  const none = await boot();
  inThread(none.solaris, function* () {
    const file = yield* open(none.solaris);
    assert.is(yield* none.solaris.spec_read(file, BASE, 1, new Pointer()), ENXIO);
  });
  const { solaris: closed } = await boot({ cb_open: undefined as never });
  assert.is(
    inThread(closed, () => closed.spec_open('xx@0:a', FREAD, new Pointer<SpecFile>())),
    ENXIO,
  );
});

test('asynchronous requests go to cb_aread and cb_awrite', async () => {
  const seen: string[] = [];
  const r = await boot({
    cb_aread: (dev, req) => {
      seen.push(`aread ${getminor(dev)} ${req.aio_uio.uio_resid}`);
      return 0;
    },
    *cb_awrite(_dev, req) {
      seen.push(`awrite ${req.aio_uio.uio_loffset}`);
      return EIO;
    },
  });
  const { solaris } = r;
  inThread(solaris, function* () {
    const file = yield* open(solaris, 'b');
    const req = new AioReq(new Uio({ iov: [{ iov_base: BASE, iov_len: 9 }], loffset: 512 }));
    assert.is(yield* solaris.spec_aread(file, req), 0);
    assert.is(yield* solaris.spec_awrite(file, req), EIO);
  });
  assert.equal(seen, ['aread 1 9', 'awrite 512']);
});

test('ioctl: the mode says how it was opened and by whom, and rval is what the call returns', async () => {
  const seen: (readonly number[])[] = [];
  const r = await boot({
    cb_ioctl: (_dev, cmd, arg, mode, _credp, rvalp) => {
      seen.push([cmd, arg, mode]);
      if (cmd === 1) rvalp.value = 42;
      return cmd === 2 ? EIO : 0;
    },
  });
  const { solaris } = r;
  inThread(solaris, function* () {
    const file = yield* open(solaris, 'a', FREAD);
    const rvalp = new Pointer<number>();
    assert.is(yield* solaris.spec_ioctl(file, 1, BASE, rvalp), 0);
    assert.is(rvalp.value, 42);
    assert.is(yield* solaris.spec_ioctl(file, 2, 7, rvalp), EIO);
    assert.is(rvalp.value, 0);
    assert.is(yield* solaris.ldi_ioctl(yield* lyr(solaris), 3, 9, FREAD, kcred, rvalp), 0);
  });
  assert.equal(seen, [
    [1, BASE, FREAD | FLP64],
    [2, 7, FREAD | FLP64],
    [3, 9, FREAD + FKIOCTL],
  ]);
});

test('the driver hears on whose behalf it is', async () => {
  const uids: number[] = [];
  const r = await boot({
    cb_open: (_devp, _flag, _otyp, credp) => {
      uids.push(credp.cr_uid);
      return 0;
    },
  });
  const { solaris } = r;
  inThread(solaris, function* () {
    const filep = new Pointer<SpecFile>();
    yield* solaris.spec_open('xx@0:a', FREAD, filep, new Cred(100));
    yield* solaris.spec_open('xx@0:a', FREAD, filep);
  });
  assert.equal(uids, [100, 0]);
});

test('DRV-01 strategy reports in the buf alone; what it returns is nothing, and should be 0', async () => {
  const bufs: Buf[] = [];
  let result: number | undefined = 0;
  const r = await boot({
    cb_strategy: (bp) => {
      bufs.push(bp);
      r.solaris.bioerror(bp, EIO);
      r.solaris.biodone(bp);
      return result;
    },
  });
  const { solaris, dev } = r;
  for (result of [0, undefined]) {
    const bp = aBuf(solaris);
    bp.b_edev = dev;
    assert.is(solaris.bdev_strategy(bp), 0);
    assert.is(
      inThread(solaris, () => solaris.biowait(bp)),
      EIO,
    );
  }
  assert.equal(solaris.kernel.warnings.all, []);
  result = EIO;
  const bp = aBuf(solaris);
  inThread(solaris, function* () {
    assert.is(solaris.ldi_strategy(yield* lyr(solaris), bp), 0);
  });
  assert.is(bp.b_edev, dev);
  assert.equal(
    solaris.kernel.warnings.all.map(({ rule, where }) => [rule, where]),
    [['DRV-01', 'xx']],
  );
  assert.is(bufs.length, 3);
});

test('a buf for a device that is not there comes back with ENXIO and nothing done', async () => {
  const { solaris } = await boot();
  const bp = aBuf(solaris);
  bp.b_edev = makedevice(9, 9);
  bp.b_flags |= B_READ;
  bp.b_bcount = PAGE_SIZE;
  assert.is(solaris.bdev_strategy(bp), 0);
  assert.equal([solaris.geterror(bp), bp.b_resid], [ENXIO, PAGE_SIZE]);
});

test('print and dump: without interrupts, or ENXIO', async () => {
  const seen: string[] = [];
  const r = await boot({
    cb_print: (_dev, text) => {
      seen.push(text);
      return 0;
    },
    cb_dump: (_dev, addr, blkno, nblk) => {
      seen.push(`${addr} ${blkno} ${nblk} ${r.solaris.kernel.cpu.irqsEnabled}`);
      return EIO;
    },
  });
  assert.is(r.solaris.bdev_print(r.dev, 'hello'), 0);
  assert.is(r.solaris.bdev_dump(r.dev, BASE, 16, 8), EIO);
  assert.equal(seen, ['hello', `${BASE} 16 8 false`]);
  assert.ok(r.solaris.kernel.cpu.irqsEnabled);
  const { solaris, dev } = await boot();
  assert.equal([solaris.bdev_print(dev, 'hello'), solaris.bdev_dump(dev, BASE, 0, 1)], [ENXIO, ENXIO]);
});
