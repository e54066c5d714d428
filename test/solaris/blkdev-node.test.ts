// Disks as applications and layered drivers have them: nodes, open, read, write, ioctl, asynchronous requests.

import { attachDriver } from '../../src/drivers/index.ts';
import type { Sleeps } from '../../src/kernel/index.ts';
import {
  AioReq,
  B_READ,
  DDI_FAILURE,
  DDI_SUCCESS,
  DEV_BSIZE,
  DKIOCFLUSHWRITECACHE,
  DKIOCGMEDIAINFO,
  EBADF,
  EINVAL,
  ENOENT,
  ENXIO,
  FREAD,
  FWRITE,
  getminor,
  KM_SLEEP,
  kcred,
  Pointer,
  type SpecFile,
  Uio,
} from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import { type BdRig, bootDisk, content, HIGH, MIB, process, rules } from './blkdev-rig.ts';
import { BASE, inThread, must, pattern, peek, poke } from './help.ts';

const test = suite('solaris blkdev nodes');

function* open({ solaris, disk }: BdRig, node: string, flag = FREAD | FWRITE): Sleeps<SpecFile> {
  const filep = new Pointer<SpecFile>();
  assert.is(yield* solaris.spec_open(`${disk.path}${node}`, flag, filep), 0);
  return must(filep.value);
}

for (const kind of ['aha1542', 'piix-ide', 'ahci', 'nvme', 'virtio-blk', 'lsi53c895a']) {
  test(`DRV-05 ${kind}: an application reads and writes the raw disk`, async () => {
    const rig = await bootDisk({ kind });
    const { solaris, medium } = rig;
    process(
      rig,
      40,
      function* (as) {
        const file = yield* open(rig, ',raw');
        const done = new Pointer<number>();
        assert.is(yield* solaris.spec_read(file, BASE + 0x200, 130_048, done), 0); // three transfers of physio()
        assert.is(done.value, 130_048);
        assert.equal(yield* peek(solaris, as, BASE + 0x200, 130_048), content(0, 130_048));
        const sent = pattern(9216, 5);
        yield* poke(solaris, as, BASE + 0x30, sent);
        assert.is(yield* solaris.spec_write(file, BASE + 0x30, 9216, done), 0);
        assert.equal(medium.read(130_048, 9216), sent);
        assert.equal(medium.read(139_264, 512), content(139_264, 512));
        assert.is(yield* solaris.spec_close(file), 0);
      },
      HIGH,
    );
    assert.equal(rules(rig), []);
  });
}

test('DRV-05 a range that is no whole sectors is EINVAL, and the end of the disk falls short', async () => {
  const rig = await bootDisk({ sectorBytes: 4096 });
  const { solaris } = rig;
  process(rig, 4, function* (as) {
    const file = yield* open(rig, ',raw');
    const done = new Pointer<number>();
    assert.is(yield* solaris.spec_pread(file, BASE, 512, 0, done), EINVAL);
    assert.is(yield* solaris.spec_pread(file, BASE, 4096, 512, done), EINVAL);
    assert.is(yield* solaris.spec_pread(file, BASE, 8192, MIB - 4096, done), 0);
    assert.is(done.value, 4096);
    assert.equal(yield* peek(solaris, as, BASE, 4096), content(MIB - 4096, 4096));
    assert.is(yield* solaris.spec_pread(file, BASE, 8192, MIB, done), 0);
    assert.is(done.value, 0);
    yield* solaris.spec_close(file);
  });
});

test('DRV-02 a disk that is open is not detached, and one that is detached is not opened', async () => {
  const rig = await bootDisk();
  const { solaris, host, disk } = rig;
  const { path } = disk;
  assert.is(path, '/devices/blkdev@0:d0');
  inThread(solaris, function* () {
    const filep = new Pointer<SpecFile>();
    assert.is(yield* solaris.spec_open(path.replace('d0', 'd1'), FREAD, filep), ENOENT);
    const file = yield* open(rig, '', FREAD);
    assert.is(solaris.bd_detach(host), DDI_FAILURE);
    const done = new Pointer<number>();
    assert.is(yield* solaris.spec_write(file, BASE, 512, done), EBADF);
    yield* solaris.spec_close(file);
    assert.is(solaris.bd_detach(host), DDI_SUCCESS);
    assert.is(yield* solaris.spec_open(path, FREAD, filep), ENOENT);
  });
});

test('DRV-05 a layered driver hands bufs on, and asks about the disk', async () => {
  const rig = await bootDisk({ kind: 'nvme' });
  const { solaris, medium } = rig;
  inThread(solaris, function* () {
    const lhp = new Pointer<SpecFile>();
    assert.is(yield* solaris.ldi_open_by_name(rig.disk.path, FREAD, kcred, lhp), 0);
    const lh = must(lhp.value);
    const { kas, allocator } = solaris.kernel;
    const memory = kas.map([must(allocator.alloc({ tag: 'layer' }))]);
    const bp = must(yield* solaris.getrbuf(KM_SLEEP));
    bp.b_flags |= B_READ;
    bp.b_un.b_addr = memory;
    bp.b_bcount = 4096;
    bp.b_lblkno = 24;
    solaris.ldi_strategy(lh, bp);
    assert.is(yield* solaris.biowait(bp), 0);
    const got = new Uint8Array(4096);
    kas.read(memory, got);
    assert.equal(got, content(24 * DEV_BSIZE, 4096));
    solaris.freerbuf(bp);
    const rval = new Pointer<number>();
    assert.is(yield* solaris.ldi_ioctl(lh, DKIOCGMEDIAINFO, memory, 0, kcred, rval), 0);
    kas.read(memory, got, 16);
    assert.equal([...new Uint32Array(got.buffer, 0, 4)], [0x10001, 512, MIB / 512, 0]);
    assert.is(yield* solaris.ldi_ioctl(lh, DKIOCFLUSHWRITECACHE, 0, 0, kcred, rval), 0);
    assert.is(medium.counters.flushes, 1);
    yield* solaris.ldi_close(lh, FREAD, kcred);
  });
});

test('APHYS-01 asynchronous reads of an application are under way together', async () => {
  const rig = await bootDisk({ kind: 'ahci-32bit' });
  const { solaris } = rig;
  process(
    rig,
    8,
    function* (as) {
      const file = yield* open(rig, ',raw');
      const requests = Array.from({ length: 8 }, (_, i) => {
        const iov = [{ iov_base: BASE + i * 4096, iov_len: 4096 }];
        return new AioReq(new Uio({ iov, loffset: (7 - i) * 4096 }));
      });
      for (const req of requests) assert.is(yield* solaris.spec_aread(file, req), 0);
      for (const req of requests)
        assert.equal(yield* solaris.aio_reap(req), { aio_return: 4096, aio_errno: 0 });
      for (let i = 0; i < 8; i++)
        assert.equal(yield* peek(solaris, as, BASE + i * 4096, 4096), content((7 - i) * 4096, 4096));
      const iov = [{ iov_base: BASE, iov_len: 100 }];
      assert.is(yield* solaris.spec_awrite(file, new AioReq(new Uio({ iov }))), EINVAL);
      yield* solaris.spec_close(file);
    },
    HIGH,
  );
  assert.equal(rules(rig), []);
});

test('two controllers are two instances, with minor numbers of their own', async () => {
  const rig = await bootDisk();
  const { machine, solaris } = rig;
  const other = machine.addController({ kind: 'nvme' });
  const disk = machine.addDisk({ bytes: MIB });
  disk.write(0, pattern(512, 9));
  other.attach(disk, 0);
  const host = solaris.bd_attach(other);
  const second = must(host.disks[0]);
  assert.equal([second.path, getminor(second.dev)], ['/devices/blkdev@1:d0', 64]);
  process(rig, 1, function* (as) {
    const file = yield* open({ ...rig, disk: second }, ',raw');
    const done = new Pointer<number>();
    assert.is(yield* solaris.spec_read(file, BASE, 512, done), 0);
    assert.equal(yield* peek(solaris, as, BASE, 512), pattern(512, 9));
    yield* solaris.spec_close(file);
  });
});

test('an attach that fails leaves nothing, and the next one works', async () => {
  const rig = await bootDisk();
  const { solaris, host, controller } = rig;
  assert.is(solaris.bd_detach(host), DDI_SUCCESS);
  const narrow = (bad: Parameters<typeof attachDriver>[0]) => {
    const driver = attachDriver(bad);
    Object.defineProperty(driver, 'limits', { value: { ...driver.limits, boundaryMask: 511 } });
    return driver;
  };
  assert.throws(
    () => solaris.bd_attach(controller, { attach: narrow }),
    /limits that no DMA attributes can say/,
  );
  assert.throws(
    () =>
      solaris.bd_attach(controller, {
        attach: () => {
          throw new RangeError('no such board');
        },
      }),
    /no such board/,
  );
  assert.equal([[...solaris.dma_bound()], [...solaris.kmem_in_use()]], [[], []]);
  assert.is(must(solaris.bd_attach(controller).disks[0]).path, '/devices/blkdev@0:d0');
  assert.equal(rules(rig), []);
});

test('a device that is quiesced touches memory no more', async () => {
  const rig = await bootDisk({ attach: { timeoutNs: 0 } });
  const { solaris, machine, medium, disk } = rig;
  machine.addFault({ disk: medium, kind: 'delay', times: 1, argument: 1e6 });
  inThread(solaris, function* () {
    const page = must(solaris.kernel.allocator.alloc({ tag: 'test', zero: true }));
    const bp = must(yield* solaris.getrbuf(KM_SLEEP));
    bp.b_flags |= B_READ;
    bp.b_un.b_addr = solaris.kernel.kas.map([page]);
    bp.b_bcount = 4096;
    bp.b_edev = disk.dev;
    solaris.bdev_strategy(bp);
    assert.is(solaris.quiesce_devices(), 0);
    machine.advance(machine.now() + 5e6);
    assert.ok(machine.memory.equals(page.phys, new Uint8Array(4096)));
  });
});

test('ENXIO for a device number of no disk', async () => {
  const rig = await bootDisk();
  const { solaris, disk } = rig;
  inThread(solaris, function* () {
    const uio = new Uio({ iov: [] });
    assert.is(yield* solaris.bd_read(disk.dev + 1, uio), ENXIO);
    assert.is(yield* solaris.bd_write(disk.dev + 1, uio), ENXIO);
  });
});
