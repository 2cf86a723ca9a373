//! Frames about one's own logins and about who did what.

use gangline::protocol::audit::{AuditAction, AuditLog, AuditOutcome, AuditQuery, AuditRecord};
use gangline::protocol::auth::{
    AuthEvent, AuthRequest, PasswordChange, Role, SessionEnd, SessionList, SessionRecord, SessionsReply, UserRole,
};
use gangline::protocol::codec::{FrameId, ToClient, ToServer};
use gangline::protocol::error::ErrorCode;

use super::{Direction, Frame, NOW, Sample, text};

const SESSION: &str = "0d3c9a4be1f24c58a1d20f6f5a7b9c11";

pub(super) fn from_client() -> Vec<Sample> {
    let auth = |name, request| Sample {
        direction: Direction::FromClient,
        name,
        id: Some(FrameId::number(7)),
        frame: Frame::Server(ToServer::Auth(request)),
    };
    vec![
        auth("auth-userRole", AuthRequest::UserRole(UserRole { account: "ada".to_owned(), role: Role::Admin })),
        auth(
            "auth-passwordChange",
            AuthRequest::PasswordChange(PasswordChange {
                present: "correct horse".to_owned(),
                password: "battery staple".to_owned(),
            }),
        ),
        auth("auth-sessionList", AuthRequest::SessionList(SessionList { account: text("ada") })),
        auth("auth-sessionEnd", AuthRequest::SessionEnd(SessionEnd { id: SESSION.to_owned() })),
        auth(
            "auth-audit",
            AuthRequest::Audit(AuditQuery {
                limit: Some(100),
                before: text("00001767225600000000-5f3a09c1"),
                account: text("ada"),
            }),
        ),
    ]
}

pub(super) fn to_client() -> Vec<Sample> {
    let auth = |name, event| Sample {
        direction: Direction::ToClient,
        name,
        id: Some(FrameId::number(7)),
        frame: Frame::Client(ToClient::Auth(event)),
    };
    let from = std::net::Ipv4Addr::new(192, 0, 2, 7).into();
    vec![
        auth(
            "auth-sessions",
            AuthEvent::Sessions(SessionsReply {
                sessions: vec![SessionRecord {
                    id: SESSION.to_owned(),
                    account: "ada".to_owned(),
                    created_at: NOW,
                    last_used_at: NOW + 60_000,
                    expires_at: NOW + 3_660_000,
                    from,
                    user_agent: text("Mozilla/5.0"),
                    current: true,
                }],
            }),
        ),
        auth(
            "auth-auditLog",
            AuthEvent::AuditLog(AuditLog {
                entries: vec![
                    AuditRecord {
                        id: "00001767225600001000-91d24e07".to_owned(),
                        time: NOW + 1,
                        account: "ada".to_owned(),
                        role: Some(Role::Admin),
                        from: Some(from),
                        action: AuditAction::UserRole,
                        target: text("grace"),
                        detail: text("user to admin"),
                        outcome: AuditOutcome::OK,
                    },
                    AuditRecord {
                        id: "00001767225600000000-5f3a09c1".to_owned(),
                        time: NOW,
                        account: "grace".to_owned(),
                        role: None,
                        from: Some(from),
                        action: AuditAction::LoginFailed,
                        target: text("grace@example.org"),
                        detail: None,
                        outcome: AuditOutcome::Refused(ErrorCode::Unauthorized),
                    },
                ],
                next: text("00001767225600000000-5f3a09c1"),
            }),
        ),
    ]
}
