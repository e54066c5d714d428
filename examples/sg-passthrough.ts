// A tool that sends SCSI commands of its own, as sg_inq and sg_readcap do through the ioctl SG_IO: what the disk answers
// goes straight to the pages of the process, or by a copy where the hardware asks for one.

import type { AddressSpace, Sleeps } from 'backplane/kernel';
import {
  BIO_USER_MAPPED,
  bio_flagged,
  bootLinux,
  errnoName,
  type Gendisk,
  GFP_KERNEL,
  type Iovec,
  IovIter,
  IS_ERR,
  iov_iter_init,
  READ,
  SCSI_SENSE_BUFFERSIZE,
} from 'backplane/linux';
import { createMachine } from 'backplane/machine';

const machine = await createMachine();
const controller = machine.addController({ kind: 'ahci' });
const medium = machine.addDisk({ bytes: 1 << 20 });
medium.write(512 * 10, new TextEncoder().encode('this is sector 10, in three pieces'));
controller.attach(medium, 0);
const linux = bootLinux(machine);
const { vm, spawnProcess, scheduler } = linux.kernel;

// ---- the driver's part: what a process that calls ioctl(fd, SG_IO, &header) gets into

/** What the caller wants, and what came of it (struct sg_io_hdr). */
interface SgIoHeader {
  readonly cmd: readonly number[];
  /** Where the data goes in the memory of the process. */
  readonly iovec: readonly Iovec[];
  readonly sense: Uint8Array;
  status: number;
  resid: number;
  /** Whether the device itself wrote to the pages of the process (SG_INFO_DIRECT_IO). */
  direct: boolean;
}

/** 0, or -errno when the command was not sent. A command that the disk refuses is no error of this function. */
function* sg_io(disk: Gendisk, header: SgIoHeader): Sleeps<number> {
  const { queue } = disk;
  const rq = yield* linux.blk_get_request(queue, READ, GFP_KERNEL);
  if (IS_ERR(rq)) return rq;
  linux.blk_rq_set_block_pc(rq);
  rq.cmd.set(header.cmd);
  rq.cmd_len = header.cmd.length;
  rq.sense = header.sense;

  const iter = new IovIter();
  const bytes = linux.iov_length(header.iovec, header.iovec.length);
  iov_iter_init(iter, READ, header.iovec, header.iovec.length, bytes);
  const error = yield* linux.blk_rq_map_user_iov(queue, rq, null, iter, GFP_KERNEL);
  if (error !== 0) {
    linux.blk_put_request(rq);
    return error;
  }
  const { bio } = rq; // the first one: what is to be unmapped, whatever becomes of rq.bio
  header.direct = bio !== null && bio_flagged(bio, BIO_USER_MAPPED);
  yield* linux.blk_execute_rq(queue, disk, rq, false);
  header.status = rq.errors & 0xff;
  header.resid = rq.resid_len;
  const unmapped = yield* linux.blk_rq_unmap_user(bio); // must run in the same process
  rq.bio = null;
  linux.blk_put_request(rq);
  return unmapped;
}

// ---- the process

const { disks } = linux.scsi_add_host(controller);
const PROT_READ_WRITE = 3;

function* tool(mm: AddressSpace): Sleeps<void> {
  const buffer = yield* mm.mmap({ length: 8192, prot: PROT_READ_WRITE });
  const [sda] = disks;
  if (sda === undefined || buffer < 0) throw new Error('no disk, or no memory');

  /** Sends a command, and returns what stands in the pieces then, one behind the other. */
  function* send(name: string, cmd: readonly number[], iovec: readonly Iovec[]): Sleeps<Uint8Array> {
    const sense = new Uint8Array(SCSI_SENSE_BUFFERSIZE);
    const header: SgIoHeader = { cmd, iovec, sense, status: 0, resid: 0, direct: false };
    const error = yield* sg_io(sda as Gendisk, header);
    const how = header.direct ? 'direct' : 'copied';
    if (error !== 0) console.log(`${name}: not sent, ${errnoName(error)}`);
    else if (header.status === 0) console.log(`${name}: good, ${how}, ${header.resid} bytes short`);
    else
      console.log(`${name}: status ${header.status}, sense key ${(sense[2] ?? 0) & 15}, code ${sense[12]}`);
    const bytes = new Uint8Array(linux.iov_length(iovec, iovec.length));
    let done = 0;
    for (const { iov_base, iov_len } of iovec) {
      yield* vm.userCopy.fromUser(mm, iov_base, bytes.subarray(done, done + iov_len));
      done += iov_len;
    }
    return bytes;
  }

  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes).trim();
  const inquiry = yield* send('INQUIRY', [0x12, 0, 0, 0, 96, 0], [{ iov_base: buffer, iov_len: 96 }]);
  console.log(`  ${text(inquiry.subarray(8, 16))} ${text(inquiry.subarray(16, 32))}`);

  const eight = [{ iov_base: buffer, iov_len: 8 }];
  const capacity = new DataView(
    (yield* send('READ CAPACITY', [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], eight)).buffer,
  );
  console.log(`  ${capacity.getUint32(0) + 1} blocks of ${capacity.getUint32(4)} bytes`);

  // Three pieces that lie anywhere: what the queue's alignment does not allow is copied.
  const pieces = [
    { iov_base: buffer + 1, iov_len: 15 },
    { iov_base: buffer + 5000, iov_len: 97 },
    { iov_base: buffer + 300, iov_len: 400 },
  ];
  const sector = yield* send('READ', [0x28, 0, 0, 0, 0, 10, 0, 0, 1, 0], pieces);
  console.log(`  "${text(sector).replaceAll('\0', '')}"`);
  yield* send('READ in place', [0x28, 0, 0, 0, 0, 10, 0, 0, 8, 0], [{ iov_base: buffer, iov_len: 4096 }]);
  yield* send('READ past the end', [0x28, 0, 0, 1, 0, 0, 0, 0, 1, 0], [{ iov_base: buffer, iov_len: 512 }]);
  yield* send('READ to nowhere', [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], [{ iov_base: 4096, iov_len: 512 }]);
}

const process = spawnProcess('sg', (_task, mm) => tool(mm));
scheduler.run({ until: process });
console.log(`findings: ${machine.guard.findings().length}`);
