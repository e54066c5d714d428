// Error numbers as the kernel's headers have them (uapi/asm-generic/errno.h) and the convention for err-ptrs.
//
// A function that returns "0 or -errno" returns a number, one that returns "a pointer or NULL" returns `T | null`. An
// err-ptr, "a pointer or an encoded errno", is `ErrPtr<T>`: the object itself or the negative number, so that
// `return -ENOMEM` needs no wrapping and IS_ERR() narrows the type:
//
//     const bio = yield* bio_map_user_iov(q, iter, GFP_KERNEL);
//     if (IS_ERR(bio)) return bio;

export const EPERM = 1;
export const ENOENT = 2;
export const EINTR = 4;
export const EIO = 5;
export const ENXIO = 6;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const EFAULT = 14;
export const EBUSY = 16;
export const EEXIST = 17;
export const ENODEV = 19;
export const ENOTDIR = 20;
export const EINVAL = 22;
export const ENOSPC = 28;
export const EROFS = 30;
export const EBADE = 52;
export const ENODATA = 61;
export const ENOLINK = 67;
export const EOPNOTSUPP = 95;
export const ETIMEDOUT = 110;
export const ESTALE = 116;
export const EREMOTEIO = 121;
export const EHWPOISON = 133;
/** Never reaches user space: the system call is to be restarted. */
export const ERESTARTSYS = 512;

/** An object, or a negative errno. */
export type ErrPtr<T extends object> = T | number;

/** True for the errno of an err-ptr; what is left otherwise is the object. */
export function IS_ERR<T extends object>(ptr: T | number): ptr is number {
  return typeof ptr === 'number';
}

const NAMES: Readonly<Record<number, string>> = {
  [EPERM]: 'EPERM',
  [ENOENT]: 'ENOENT',
  [EINTR]: 'EINTR',
  [EIO]: 'EIO',
  [ENXIO]: 'ENXIO',
  [EAGAIN]: 'EAGAIN',
  [ENOMEM]: 'ENOMEM',
  [EFAULT]: 'EFAULT',
  [EBUSY]: 'EBUSY',
  [EEXIST]: 'EEXIST',
  [ENODEV]: 'ENODEV',
  [ENOTDIR]: 'ENOTDIR',
  [EINVAL]: 'EINVAL',
  [ENOSPC]: 'ENOSPC',
  [EROFS]: 'EROFS',
  [EBADE]: 'EBADE',
  [ENODATA]: 'ENODATA',
  [ENOLINK]: 'ENOLINK',
  [EOPNOTSUPP]: 'EOPNOTSUPP',
  [ETIMEDOUT]: 'ETIMEDOUT',
  [ESTALE]: 'ESTALE',
  [EREMOTEIO]: 'EREMOTEIO',
  [EHWPOISON]: 'EHWPOISON',
  [ERESTARTSYS]: 'ERESTARTSYS',
};

/** `-EIO` for -5, `0` for 0; a number without a name stays a number. */
export function errnoName(result: number): string {
  const name = NAMES[Math.abs(result)];
  if (name === undefined) return String(result);
  return result < 0 ? `-${name}` : name;
}
